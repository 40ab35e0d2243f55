-- What requests of the vendors' clients are signed with.
create table access_keys (
    -- What a request names.
    id              text primary key check (id ~ '^[A-Z0-9]{16,64}$'),
    user_id         text not null,
    project_id      text not null,
    roles           text[] not null,
    -- Sealed.
    secret          text not null,
    -- The one before it, which holds until then.
    old_secret      text,
    old_until       timestamptz,
    enabled         boolean not null default true,
    -- Made by the service itself for an account of the built-in identity, one for each.
    built_in        boolean not null default false,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    check ((old_secret is null) = (old_until is null))
);
create unique index one_built_in_key_per_account on access_keys (user_id, project_id) where built_in;

-- What made a request the only one. The primary key is the rule: of any number of copies that come at once, one is taken.
create table signature_nonces (
    access_key      text not null references access_keys (id) on delete cascade,
    nonce           text not null check (length(nonce) between 1 and 128),
    expires_at      timestamptz not null,
    primary key (access_key, nonce)
);
create index nonces_to_clear on signature_nonces (expires_at);
