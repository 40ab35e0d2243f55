-- What changes rarely and is asked with every request: each change gives it a new revision, so that a process that has
-- read a revision need not read it again.
create table catalogue (
    only_one        boolean primary key default true check (only_one),
    revision        uuid not null default gen_random_uuid()
);
insert into catalogue default values;
create function revise_catalogue() returns trigger language plpgsql as $$
begin
    update catalogue set revision = gen_random_uuid();
    return null;
end $$;
create trigger revise_catalogue after insert or update or delete on datastores
    for each statement execute function revise_catalogue();
create trigger revise_catalogue after insert or update or delete on datastore_versions
    for each statement execute function revise_catalogue();
create trigger revise_catalogue after insert or update or delete on upgrade_paths
    for each statement execute function revise_catalogue();
create trigger revise_catalogue after insert or update or delete on flavors
    for each statement execute function revise_catalogue();
create trigger revise_catalogue after insert or update or delete on host_versions
    for each statement execute function revise_catalogue();

-- Where the search for a free address begins: never twice at the same place, and nobody waits for another.
create sequence addresses;

-- What operators watch is counted now and then; most tasks have ended.
create index tasks_not_ended on tasks (kind, state) where ended_at is null;
