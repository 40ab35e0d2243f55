-- Groups: a primary with a standby that replicates from it, at one address.
create table groups (
    id                  uuid primary key,
    project_id          text not null,
    name                text not null check (length(name) between 1 and 255),
    state               text not null check (state in ('building', 'active', 'upgrading', 'failing_over', 'deleting',
                                                       'error', 'deleted')),
    flavor_id           text not null references flavors (id),
    volume_gb           integer not null check (volume_gb > 0),
    -- What was asked for; what runs is its members' matter.
    wanted_version_id   uuid not null references datastore_versions (id),
    host_id             text not null references hosts (id),
    fault_message       text,
    fault_details       text,
    fault_at            timestamptz,
    revision            bigint not null default 0,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    deleted_at          timestamptz,
    check ((state = 'deleted') = (deleted_at is not null)),
    check ((fault_message is null) = (fault_at is null))
);
create index groups_of_project on groups (project_id, id) where deleted_at is null;

-- Its members are instances. The primary is the one that replicates from nobody: the index is the rule.
alter table instances add column group_id uuid references groups (id);
alter table instances add column zone text;
alter table instances add check ((group_id is null) = (zone is null));
create unique index one_primary_per_group on instances (group_id)
    where group_id is not null and replica_of is null and deleted_at is null;
create index members_of_group on instances (group_id) where group_id is not null;

-- An address is an instance's or a group's, under the id of either; a member has none of its own.
alter table endpoints drop constraint endpoints_instance_id_fkey;

alter table tasks drop constraint tasks_kind_check;
alter table tasks add check (kind in ('create', 'delete', 'upgrade', 'upgrade_auto', 'upgrade_in_place',
                                      'upgrade_twin', 'create_group', 'delete_group', 'upgrade_rolling',
                                      'switch_back', 'failover'));
