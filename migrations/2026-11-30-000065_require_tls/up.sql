-- Whether an instance's address lets in those clients only that ask for TLS first.
alter table endpoints add column tls_only boolean not null default false;
