drop table upgrade_policies;
