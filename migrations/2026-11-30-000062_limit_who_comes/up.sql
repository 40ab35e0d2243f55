-- The networks from which an instance's address lets clients in, as its customer wrote them; none lets everybody in.
alter table endpoints add column allowed_cidrs text[] not null default '{}';
