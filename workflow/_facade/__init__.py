"""The public face of a built workflow, in parts: what each verb promises, typed for the user's object and statuses."""
