create table prompt (name text primary key, text text not null);
insert into prompt values ('describe', 'Describe this job in three sentences.');
