alter table questions drop column about;
drop table holds;
alter table generations drop column keep_until;
alter table tasks drop column report;
alter table tasks drop column cancel_asked;
alter table tasks drop constraint tasks_phase_check;
alter table tasks add check (phase in ('forward', 'detach', 'abandon', 'undo'));
alter table tasks drop constraint tasks_kind_check;
alter table tasks add check (kind in ('create', 'delete', 'upgrade'));
alter table instances drop constraint instances_state_check;
alter table instances add check (state in ('building', 'active', 'feeding_upgrade', 'verify_upgrade',
                                           'detaching', 'deleting', 'error', 'deleted'));
