drop trigger measure_task on tasks;
drop function measure_task;
alter table tasks drop column bytes;
alter table task_steps drop column share;
