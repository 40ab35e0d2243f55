alter table instances drop constraint instances_state_check;
alter table instances add constraint instances_state_check
    check (state in ('building', 'active', 'feeding_upgrade', 'verify_upgrade', 'upgrading', 'detaching', 'deleting',
                     'error', 'deleted'));
