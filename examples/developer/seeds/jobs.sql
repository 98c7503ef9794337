create table job (id int primary key, title varchar(200) not null);
insert into job values (1, 'keeper of the lighthouse'), (2, 'reader of old maps');
