"""What goes in and out over HTTP, as typed structures.

They are decoded and encoded by msgspec, and the OpenAPI document is made from them: a constraint stands here
once. Bodies refuse fields that they don't know; clients are to ignore fields that they don't know in answers.
"""
