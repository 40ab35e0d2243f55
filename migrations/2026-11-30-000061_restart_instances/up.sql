-- An instance whose server is being restarted, also with another flavor.
alter table instances drop constraint instances_state_check;
alter table instances add constraint instances_state_check
    check (state in ('building', 'active', 'feeding_upgrade', 'verify_upgrade', 'upgrading', 'restarting', 'resizing',
                     'detaching',
                     'deleting', 'error', 'deleted'));
