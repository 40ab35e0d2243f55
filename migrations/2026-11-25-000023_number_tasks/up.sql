-- A short number for each task: some dialects know tasks by no other name.
alter table tasks add column number bigint generated always as identity;
create unique index tasks_by_number on tasks (number);
