-- Upgrades of the same instance: their states, their hold at the endpoint, and the old server that is kept.
alter table instances drop constraint instances_state_check;
alter table instances add check (state in ('building', 'active', 'feeding_upgrade', 'verify_upgrade', 'upgrading',
                                           'detaching', 'deleting', 'error', 'deleted'));

alter table tasks drop constraint tasks_kind_check;
alter table tasks add check (kind in ('create', 'delete', 'upgrade', 'upgrade_auto', 'upgrade_in_place',
                                      'upgrade_twin'));
alter table tasks drop constraint tasks_phase_check;
alter table tasks add check (phase in ('forward', 'detach', 'abandon', 'undo', 'finish'));
-- Its customer wants it to end before its one-way point.
alter table tasks add column cancel_asked boolean not null default false;
-- What its steps found out, for who asked.
alter table tasks add column report jsonb not null default '{}';

-- Until when a retired generation is kept.
alter table generations add column keep_until timestamptz;
alter table generations add check ((role = 'retired') = (keep_until is not null));

-- The endpoint holds new connections to the instance's address. No end of its own: only the task that made it ends it.
create table holds (
    instance_id     uuid primary key references endpoints (instance_id) on delete cascade,
    task_id         uuid not null references tasks (id),
    -- How long a connection waits at most before it is told to come again.
    wait_ms         integer not null check (wait_ms between 0 and 30000),
    -- Whether connections that are open are ended, too.
    cut             boolean not null default false,
    since           timestamptz not null default clock_timestamp()
);

update upgrade_paths set ways = array['replica', 'in_place', 'twin']
where note = 'a real pair of this service' and ways = array['replica'];

do $$
begin
    if exists (select from pg_roles where rolname = 'coffer_endpoint') then
        grant select on holds to coffer_endpoint;
    end if;
end $$;

-- What a question is about besides its instance.
alter table questions add column about jsonb not null default 'null';
