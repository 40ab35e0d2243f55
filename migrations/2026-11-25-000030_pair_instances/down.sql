alter table tasks drop constraint tasks_kind_check;
alter table tasks add check (kind in ('create', 'delete', 'upgrade', 'upgrade_auto', 'upgrade_in_place',
                                      'upgrade_twin'));
delete from endpoints e where not exists (select from instances i where i.id = e.instance_id);
alter table endpoints add foreign key (instance_id) references instances (id);
drop index members_of_group;
drop index one_primary_per_group;
alter table instances drop column zone;
alter table instances drop column group_id;
drop table groups;
