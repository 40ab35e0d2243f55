drop index inspections_that_run;
alter table inspections
    drop constraint inspections_run_without_result,
    drop constraint inspections_run_until,
    drop column answer_by,
    drop column question_id,
    drop column strategy;
