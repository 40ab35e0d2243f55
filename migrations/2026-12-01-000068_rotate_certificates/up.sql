-- Several authorities: the one that signs, the one that was announced and will sign next, and those whose certificates are
-- still about. Clients are given the certificates of all of them.
alter table authorities add column state text not null default 'signing'
    check (state in ('announced', 'signing', 'old'));
drop index one_authority;
create unique index one_authority_signs on authorities ((true)) where state = 'signing';
create unique index one_authority_is_announced on authorities ((true)) where state = 'announced';
-- When the worker renewed it last; null for an instance's first certificate.
alter table certificates add column renewed_at timestamptz;
