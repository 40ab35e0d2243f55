-- Whether an instance is upgraded to newer builds of its version without being asked, in its window. Off where there is
-- no row.
create table upgrade_policies (
    instance_id     uuid primary key references instances (id),
    minor           text not null check (minor in ('off', 'window')),
    -- The start of the window in which something was asked for last: once in each.
    asked_window    timestamptz,
    updated_at      timestamptz not null default now()
);
