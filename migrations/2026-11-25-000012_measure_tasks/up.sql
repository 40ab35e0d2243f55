-- How far a task is. The greatest share of a step that it told, so that what is shown never falls.
alter table task_steps add column share real not null default 0 check (share between 0 and 1);

-- What the data of an upgrade's instance took when the upgrade was accepted: what is expected of it is fixed then.
alter table tasks add column bytes bigint;
create function measure_task() returns trigger language plpgsql as $$
begin
    select g.used_bytes into new.bytes from generations g
    where g.instance_id = coalesce(new.plan->>'source', new.plan->>'instance')::uuid and g.role = 'serving';
    return new;
end $$;
create trigger measure_task before insert on tasks
    for each row when (new.kind like 'upgrade%') execute function measure_task();
