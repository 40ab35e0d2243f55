drop index one_planned_task_per_instance;
alter table task_instances drop column planned;
alter table tasks drop column starts_at, drop column asked_not_after, drop column asked_not_before,
                  drop column asked_when, drop column deferred;
drop table windows;
