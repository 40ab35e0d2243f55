-- An inspection is there before the engine has answered. Until then it names its question, and when it is too late for
-- an answer. A program from before takes one that runs for one that did not pass.
alter table inspections
    add column strategy text,
    add column question_id uuid unique,
    add column answer_by timestamptz,
    add constraint inspections_run_until check ((question_id is null) = (answer_by is null)),
    add constraint inspections_run_without_result check (question_id is null or not passed);
-- What is inspected is not inspected a second time meanwhile.
create unique index inspections_that_run on inspections (instance_id, target, coalesce(strategy, ''))
    where question_id is not null;
