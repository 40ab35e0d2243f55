drop table certificates;
drop table authorities;
