--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pg_trgm; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

--
-- Name: EXTENSION pg_trgm; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: agents; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.agents (
    id integer NOT NULL,
    tenant_id integer NOT NULL,
    agent_id text NOT NULL COLLATE pg_catalog."C",
    tier text NOT NULL,
    reputation_score double precision DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT agents_tier_check CHECK ((tier = ANY (ARRAY['free'::text, 'pro'::text, 'enterprise'::text])))
);

--
-- Name: agents_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.agents ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.agents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id integer NOT NULL,
    tenant_id integer NOT NULL,
    agent_id integer,
    hash bytea NOT NULL,
    from_settings boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone
);

--
-- Name: api_keys_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: board_items; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.board_items (
    board_id integer NOT NULL,
    item_id integer NOT NULL,
    up_votes integer DEFAULT 0 NOT NULL,
    down_votes integer DEFAULT 0 NOT NULL,
    points bigint DEFAULT 0 NOT NULL,
    score numeric GENERATED ALWAYS AS (((points)::numeric / 100.0)) STORED,
    added_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='70');

--
-- Name: boards; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.boards (
    id integer NOT NULL,
    tenant_id integer NOT NULL,
    slug text NOT NULL COLLATE pg_catalog."C",
    title text NOT NULL,
    item_type text NOT NULL,
    ballot text NOT NULL,
    minimum smallint NOT NULL,
    maximum smallint NOT NULL,
    ballots_change boolean DEFAULT false NOT NULL,
    windows text[] NOT NULL,
    opens_at timestamp with time zone,
    closes_at timestamp with time zone,
    weights jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT boards_ballot_check CHECK ((ballot = ANY (ARRAY['updown'::text, 'points'::text, 'stars'::text, 'like'::text]))),
    CONSTRAINT boards_check CHECK ((maximum >= minimum)),
    CONSTRAINT boards_check1 CHECK ((closes_at > opens_at)),
    CONSTRAINT boards_item_type_check CHECK ((item_type = ANY (ARRAY['song'::text, 'tool'::text])))
);

--
-- Name: boards_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.boards ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.boards_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: epochs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.epochs (
    shard smallint NOT NULL,
    epoch text NOT NULL,
    resumes text,
    told bigint DEFAULT 0 NOT NULL,
    settled bigint
);

--
-- Name: flush_positions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.flush_positions (
    shard smallint NOT NULL,
    epoch text NOT NULL,
    seq bigint NOT NULL,
    flushed_at timestamp with time zone DEFAULT now() NOT NULL
);

--
-- Name: items; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.items (
    id integer NOT NULL,
    tenant_id integer NOT NULL,
    item_type text NOT NULL,
    item_id text NOT NULL COLLATE pg_catalog."C",
    title text NOT NULL,
    artist text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    searchable text GENERATED ALWAYS AS (lower(((title || ' '::text) || COALESCE(artist, ''::text)))) STORED NOT NULL,
    CONSTRAINT items_item_type_check CHECK ((item_type = ANY (ARRAY['song'::text, 'tool'::text])))
);

--
-- Name: items_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.items ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.items_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: rank_history; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.rank_history (
    board_id integer NOT NULL,
    time_window text NOT NULL,
    sampled_at timestamp with time zone NOT NULL,
    hourly boolean NOT NULL,
    items integer[] NOT NULL,
    points bigint[] NOT NULL
);

--
-- Name: rank_samples; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.rank_samples (
    board_id integer NOT NULL,
    time_window text NOT NULL,
    sampled_at timestamp with time zone NOT NULL,
    items text[] NOT NULL,
    ranks integer[] NOT NULL,
    points bigint[] NOT NULL
);

--
-- Name: songs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.songs (
    id integer NOT NULL,
    platform text NOT NULL,
    platform_url text NOT NULL,
    genre text,
    mood text,
    tempo double precision
);

--
-- Name: tenants; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenants (
    id integer NOT NULL,
    slug text NOT NULL,
    shard smallint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

--
-- Name: tenants_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

ALTER TABLE public.tenants ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.tenants_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: tools; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tools (
    id integer NOT NULL,
    website text NOT NULL,
    affiliate_link text,
    commission_rate double precision,
    category text,
    features text[],
    pricing text
);

--
-- Name: vote_events; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.vote_events (
    shard smallint NOT NULL,
    seq bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    board_id integer NOT NULL,
    item_id integer NOT NULL,
    agent_id integer NOT NULL,
    weight smallint NOT NULL,
    points integer NOT NULL,
    value smallint,
    previous smallint,
    comment text
)
PARTITION BY RANGE (at);

--
-- Name: vote_events_other; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.vote_events_other (
    shard smallint CONSTRAINT vote_events_shard_not_null NOT NULL,
    seq bigint CONSTRAINT vote_events_seq_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT vote_events_at_not_null NOT NULL,
    board_id integer CONSTRAINT vote_events_board_id_not_null NOT NULL,
    item_id integer CONSTRAINT vote_events_item_id_not_null NOT NULL,
    agent_id integer CONSTRAINT vote_events_agent_id_not_null NOT NULL,
    weight smallint CONSTRAINT vote_events_weight_not_null NOT NULL,
    points integer CONSTRAINT vote_events_points_not_null NOT NULL,
    value smallint,
    previous smallint,
    comment text
);

--
-- Name: votes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.votes (
    agent_id integer NOT NULL,
    board_id integer NOT NULL,
    item_id integer NOT NULL,
    value smallint NOT NULL,
    weight smallint NOT NULL,
    seq bigint NOT NULL,
    voted_at timestamp with time zone NOT NULL,
    comment text
)
WITH (fillfactor='90');

--
-- Name: vote_events_other; Type: TABLE ATTACH; Schema: public; Owner: -
--

ALTER TABLE ONLY public.vote_events ATTACH PARTITION public.vote_events_other DEFAULT;

--
-- Name: agents agents_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (id);

--
-- Name: agents agents_tenant_id_agent_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_tenant_id_agent_id_key UNIQUE (tenant_id, agent_id);

--
-- Name: api_keys api_keys_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);

--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

--
-- Name: board_items board_items_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.board_items
    ADD CONSTRAINT board_items_pkey PRIMARY KEY (board_id, item_id);

--
-- Name: boards boards_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.boards
    ADD CONSTRAINT boards_pkey PRIMARY KEY (id);

--
-- Name: boards boards_tenant_id_slug_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.boards
    ADD CONSTRAINT boards_tenant_id_slug_key UNIQUE (tenant_id, slug);

--
-- Name: epochs epochs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (shard, epoch);

--
-- Name: flush_positions flush_positions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.flush_positions
    ADD CONSTRAINT flush_positions_pkey PRIMARY KEY (shard);

--
-- Name: items items_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_pkey PRIMARY KEY (id);

--
-- Name: items items_tenant_id_item_type_item_id_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_tenant_id_item_type_item_id_key UNIQUE (tenant_id, item_type, item_id);

--
-- Name: rank_history rank_history_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rank_history
    ADD CONSTRAINT rank_history_pkey PRIMARY KEY (board_id, time_window, sampled_at);

--
-- Name: rank_samples rank_samples_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rank_samples
    ADD CONSTRAINT rank_samples_pkey PRIMARY KEY (board_id, time_window, sampled_at);

--
-- Name: songs songs_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.songs
    ADD CONSTRAINT songs_pkey PRIMARY KEY (id);

--
-- Name: tenants tenants_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (id);

--
-- Name: tenants tenants_slug_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_slug_key UNIQUE (slug);

--
-- Name: tools tools_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tools
    ADD CONSTRAINT tools_pkey PRIMARY KEY (id);

--
-- Name: vote_events vote_events_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.vote_events
    ADD CONSTRAINT vote_events_pkey PRIMARY KEY (shard, seq, at);

--
-- Name: vote_events_other vote_events_other_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.vote_events_other
    ADD CONSTRAINT vote_events_other_pkey PRIMARY KEY (shard, seq, at);

--
-- Name: votes votes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.votes
    ADD CONSTRAINT votes_pkey PRIMARY KEY (agent_id, board_id, item_id);

--
-- Name: api_keys_agent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX api_keys_agent ON public.api_keys USING btree (agent_id);

--
-- Name: board_items_item; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX board_items_item ON public.board_items USING btree (item_id);

--
-- Name: items_newest; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX items_newest ON public.items USING btree (tenant_id, item_type, id DESC);

--
-- Name: items_searchable; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX items_searchable ON public.items USING gin (searchable public.gin_trgm_ops);

--
-- Name: rank_history_age; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX rank_history_age ON public.rank_history USING btree (hourly, sampled_at);

--
-- Name: votes_comments; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX votes_comments ON public.votes USING btree (board_id, item_id, seq DESC) WHERE (comment <> ''::text);

--
-- Name: vote_events_other_pkey; Type: INDEX ATTACH; Schema: public; Owner: -
--

ALTER INDEX public.vote_events_pkey ATTACH PARTITION public.vote_events_other_pkey;

--
-- Name: agents agents_tenant_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.agents
    ADD CONSTRAINT agents_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);

--
-- Name: api_keys api_keys_agent_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES public.agents(id);

--
-- Name: api_keys api_keys_tenant_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);

--
-- Name: board_items board_items_board_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.board_items
    ADD CONSTRAINT board_items_board_id_fkey FOREIGN KEY (board_id) REFERENCES public.boards(id);

--
-- Name: board_items board_items_item_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.board_items
    ADD CONSTRAINT board_items_item_id_fkey FOREIGN KEY (item_id) REFERENCES public.items(id);

--
-- Name: boards boards_tenant_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.boards
    ADD CONSTRAINT boards_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);

--
-- Name: items items_tenant_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.items
    ADD CONSTRAINT items_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES public.tenants(id);

--
-- Name: rank_history rank_history_board_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rank_history
    ADD CONSTRAINT rank_history_board_id_fkey FOREIGN KEY (board_id) REFERENCES public.boards(id);

--
-- Name: rank_samples rank_samples_board_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.rank_samples
    ADD CONSTRAINT rank_samples_board_id_fkey FOREIGN KEY (board_id) REFERENCES public.boards(id);

--
-- Name: songs songs_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.songs
    ADD CONSTRAINT songs_id_fkey FOREIGN KEY (id) REFERENCES public.items(id) ON DELETE CASCADE;

--
-- Name: tools tools_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tools
    ADD CONSTRAINT tools_id_fkey FOREIGN KEY (id) REFERENCES public.items(id) ON DELETE CASCADE;

--
-- PostgreSQL database dump complete
--
