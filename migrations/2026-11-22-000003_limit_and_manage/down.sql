drop table simulations;
drop table maintenance;
drop table quotas;
