-- When an instance may be upgraded without being asked again: its own window, or its project's.
create table windows (
    project_id      text not null,
    -- None: the project's default.
    instance_id     uuid references instances (id),
    -- Monday is the lowest bit.
    days            smallint not null check (days between 1 and 127),
    -- The minute of the day at which it begins, by the clocks of its zone.
    start_minute    smallint not null check (start_minute between 0 and 1439),
    minutes         smallint not null check (minutes between 10 and 1440),
    zone            text not null,
    updated_at      timestamptz not null default now()
);
create unique index window_of_instance on windows (instance_id) where instance_id is not null;
create unique index window_of_project on windows (project_id) where instance_id is null;

-- An upgrade that is accepted for later: a scheduled task that has not claimed its instance yet.
alter table tasks add column deferred boolean not null default false;
alter table tasks add check (not deferred or state = 'scheduled');
alter table tasks add column asked_when text not null default 'now' check (asked_when in ('now', 'window', 'at'));
-- Of one at a set time: not before, and how late it may begin.
alter table tasks add column asked_not_before timestamptz;
alter table tasks add column asked_not_after timestamptz;
alter table tasks add check ((asked_when = 'at') = (asked_not_before is not null and asked_not_after is not null));
-- The start that was told: the moment itself, or the window's next one.
alter table tasks add column starts_at timestamptz;
alter table tasks add check (asked_when = 'now' or starts_at is not null);

-- It is planned for its instance; the index is the rule: one an instance.
alter table task_instances add column planned boolean not null default false;
alter table task_instances add check (not (planned and live));
create unique index one_planned_task_per_instance on task_instances (instance_id) where planned;
