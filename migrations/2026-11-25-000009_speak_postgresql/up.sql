-- What is spoken at an address: whether the server or the client speaks first, and how the server is reached, differ.
alter table endpoints add column protocol text not null default 'mysql'
    check (protocol in ('mysql', 'postgresql'));
alter table relays add column protocol text not null default 'mysql'
    check (protocol in ('mysql', 'postgresql'));
