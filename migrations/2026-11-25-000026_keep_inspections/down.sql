drop table inspections;
