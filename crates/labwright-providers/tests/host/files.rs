//! Files, directories and links on a real file system: made, mended, replaced, removed, and never lost.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use expect_test::{Expect, expect};

use crate::world::World;

fn check(done: &str, expected: Expect) {
    expected.assert_eq(done);
}

const TREE: &str = "\
directories: { $ROOT/srv: { mode: \"0750\" }, $ROOT/srv/app: {} }
files:
  $ROOT/srv/app/conf: { content: \"one\\n\", mode: \"0600\" }
  $ROOT/motd: { content: \"hello\\n\" }
symlinks: { $ROOT/current: srv/app }
";

#[test]
fn everything_is_made_once_and_then_nothing_is_left_to_do() {
    let mut world = World::new();
    check(
        &world.apply(TREE),
        expect![[r#"
            create directory $ROOT/srv: not there
            create directory $ROOT/srv/app: not there
            create file $ROOT/motd: not there
            create file $ROOT/srv/app/conf: not there
            create symlink $ROOT/current: not there
        "#]],
    );
    check(
        &world.tree(),
        expect![[r#"
            $ROOT/current -> srv/app
            $ROOT/motd 0644 "hello\n"
            $ROOT/srv/ 0750
            $ROOT/srv/app/ 0755
            $ROOT/srv/app/conf 0600 "one\n"
        "#]],
    );
    check(&world.apply(TREE), expect![""]);
    assert_eq!(world.plan(TREE).report.unchanged, 5);
}

#[test]
fn a_hand_edit_is_kept_before_it_is_undone() {
    let mut world = World::new();
    world.apply(TREE);
    fs::write(world.at("motd"), "edited by hand\n").unwrap();
    fs::set_permissions(world.at("srv"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(world.at("current")).unwrap();
    symlink("elsewhere", world.at("current")).unwrap();
    check(
        &world.apply(TREE),
        expect![[r#"
            update directory $ROOT/srv: mode changed since the last apply
            update file $ROOT/motd: content changed since the last apply
              $ROOT/motd: `$ROOT/motd` held something that labwright did not write; a copy is in `$STATE/replaced/d30665de6a3e1dcf-motd`
            update symlink $ROOT/current: target changed since the last apply
        "#]],
    );
    let kept = fs::read_dir(world.state().join("replaced")).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read_to_string(kept.path()).unwrap(), "edited by hand\n");
    assert_eq!(kept.metadata().unwrap().mode() & 0o777, 0o600);
    check(&world.apply(TREE), expect![""]);
}

#[test]
fn a_change_of_the_lab_file_keeps_no_copy_of_what_it_wrote_itself() {
    let mut world = World::new();
    world.apply(TREE);
    check(
        &world.apply(&TREE.replace("hello", "goodbye")),
        expect![[r#"
            update file $ROOT/motd: content differs
        "#]],
    );
    assert!(!world.state().join("replaced").exists());
}

#[test]
fn what_was_there_before_is_a_conflict_until_somebody_says_otherwise() {
    let mut world = World::new();
    fs::write(world.at("motd"), "not ours\n").unwrap();
    let lab = "files: { $ROOT/motd: { content: \"ours\\n\" } }";
    check(
        &world.apply(lab),
        expect![[r#"
            blocked box/host/file/$ROOT/motd: it is there, is not the lab's, and differs in content; to take it over: `labwright apply --adopt box/host/file/$ROOT/motd`, or `adopt: true` on it in the lab file
        "#]],
    );
    let taking_over = "files: { $ROOT/motd: { content: \"ours\\n\", adopt: true } }";
    check(
        &world.apply(taking_over),
        expect![[r#"
            update file $ROOT/motd: taken over; content differs
              $ROOT/motd: `$ROOT/motd` held something that labwright did not write; a copy is in `$STATE/replaced/78fd7f021556a084-motd`
        "#]],
    );
    check(&world.apply(taking_over), expect![""]);
}

#[test]
fn a_directory_that_holds_anything_is_never_replaced() {
    let mut world = World::new().adopt_all();
    fs::create_dir_all(world.at("full/data")).unwrap();
    fs::create_dir_all(world.at("empty")).unwrap();
    fs::write(world.at("was-file"), "content\n").unwrap();
    symlink("/nonexistent", world.at("was-link")).unwrap();
    let lab = "\
directories: { $ROOT/was-file: {}, $ROOT/was-link: {} }
files: { $ROOT/full: { content: x }, $ROOT/empty: { content: x } }
";
    check(
        &world.apply(lab),
        expect![[r#"
            replace directory $ROOT/was-file: taken over; mode, type differs
              $ROOT/was-file: `$ROOT/was-file` held something that labwright did not write; a copy is in `$STATE/replaced/df0c40684c6bda39-was-file`
            replace directory $ROOT/was-link: taken over; mode, type differs
              $ROOT/was-link: `$ROOT/was-link` was a link to `/nonexistent`
            replace file $ROOT/empty: taken over; content, mode, type differs
            replace file $ROOT/full: taken over; content, mode, type differs
              failed: `$ROOT/full` is a directory and holds 1 entry; it is not replaced; move `$ROOT/full` away if you mean it, then apply again
        "#]],
    );
    check(
        &world.tree(),
        expect![[r#"
            $ROOT/empty 0644 "x"
            $ROOT/full/ 0755
            $ROOT/full/data/ 0755
            $ROOT/was-file/ 0755
            $ROOT/was-link/ 0755
        "#]],
    );
}

#[test]
fn links_are_replaced_and_never_followed() {
    let mut world = World::new().adopt_all();
    fs::write(world.at("victim"), "precious\n").unwrap();
    fs::set_permissions(world.at("victim"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("victim", world.at("file")).unwrap();
    symlink("victim", world.at("link")).unwrap();
    let lab = "files: { $ROOT/file: { content: \"new\\n\", mode: \"0777\" } }\nsymlinks: { $ROOT/link: other }\n";
    world.apply(lab);
    check(
        &world.tree(),
        expect![[r#"
            $ROOT/file 0777 "new\n"
            $ROOT/link -> other
            $ROOT/victim 0640 "precious\n"
        "#]],
    );
}

#[test]
fn a_missing_parent_is_named_with_the_way_out() {
    let mut world = World::new();
    check(
        &world.apply("files: { $ROOT/a/b/motd: { content: x } }"),
        expect![[r#"
            create file $ROOT/a/b/motd: not there
              failed: cannot write `$ROOT/a/b/motd`: `$ROOT/a` is not there; declare the directory `$ROOT/a`, under `directories`
        "#]],
    );
}

#[test]
fn a_file_without_content_only_has_permissions() {
    let mut world = World::new();
    fs::write(world.at("theirs"), "theirs\n").unwrap();
    fs::set_permissions(world.at("theirs"), fs::Permissions::from_mode(0o666)).unwrap();
    world.apply("files: { $ROOT/theirs: { mode: \"0640\", adopt: true }, $ROOT/new: { mode: \"0600\" } }");
    check(
        &world.tree(),
        expect![[r#"
            $ROOT/new 0600 ""
            $ROOT/theirs 0640 "theirs\n"
        "#]],
    );
}

#[test]
fn pruning_removes_what_the_lab_made_and_keeps_what_others_put_there() {
    let mut world = World::new();
    world.apply(TREE);
    fs::write(world.at("srv/app/data"), "data\n").unwrap();
    world.options.prune = true;
    check(
        &world.apply("files: {}"),
        expect![[r#"
            delete directory $ROOT/srv: no longer declared
              failed: `$ROOT/srv` holds entries of the lab's that are still there; it is not removed; `--delete-data box/host/directory/$ROOT/srv` removes it with everything in it
            delete file $ROOT/motd: no longer declared
            delete file $ROOT/srv/app/conf: no longer declared
            delete symlink $ROOT/current: no longer declared
            kept box/host/directory/$ROOT/srv/app: no longer declared, and it holds data: 1 entry; `--delete-data box/host/directory/$ROOT/srv/app` removes it
        "#]],
    );
    let app = world.marks.keys().find(|id| id.name().ends_with("/srv/app")).unwrap().clone();
    world.options.delete_data.insert(app);
    check(
        &world.apply("files: {}"),
        expect![[r#"
            delete directory $ROOT/srv/app: no longer declared, and named by `--delete-data`
            delete directory $ROOT/srv: no longer declared
        "#]],
    );
    check(&world.tree(), expect![""]);
    assert!(world.marks.is_empty());
}

#[test]
fn a_large_file_is_compared_by_its_digest() {
    let mut world = World::new();
    let large = "x".repeat(3 << 20);
    let lab = format!("files: {{ $ROOT/large: {{ content: {large} }} }}");
    world.apply(&lab);
    assert_eq!(fs::metadata(world.at("large")).unwrap().len(), 3 << 20);
    check(&world.apply(&lab), expect![""]);
    fs::write(world.at("large"), large.replacen('x', "y", 1)).unwrap();
    assert_eq!(world.plan(&lab).steps[0].because, "content changed since the last apply");
}

#[test]
fn a_leftover_of_a_killed_run_is_no_obstacle_and_no_data() {
    let mut world = World::new();
    world.apply("directories: { $ROOT/srv: {} }");
    fs::write(world.at("srv/.motd.labwright-new"), "half").unwrap();
    world.options.prune = true;
    check(
        &world.apply("directories: { $ROOT/srv: {} }\nfiles: { $ROOT/srv/motd: { content: \"x\\n\" } }"),
        expect![[r#"
            create file $ROOT/srv/motd: not there
        "#]],
    );
    check(
        &world.tree(),
        expect![[r#"
            $ROOT/srv/ 0755
            $ROOT/srv/motd 0644 "x\n"
        "#]],
    );
}

#[test]
fn whatever_stands_in_the_way_of_reading_is_unknown_and_not_absent() {
    let mut world = World::new();
    fs::create_dir(world.at("loop")).unwrap();
    symlink("b", world.at("a")).unwrap();
    symlink("a", world.at("b")).unwrap();
    let done = world.apply("files: { $ROOT/a/motd: { content: x } }");
    assert!(done.starts_with("blocked box/host/file/$ROOT/a/motd: it could not be looked at"), "{done}");
}
