//! Reads what strace wrote down of a program, and says which calls write, or could make somebody else write.
//! What it does not know counts as writing: a new kind of call is looked at by a person before it passes.

use std::collections::BTreeSet;

/// What to give to strace. Paths of descriptors stand behind them (`-y`), and long words are not cut.
pub const OPTIONS: &[&str] = &[
    "-f",
    "-y",
    "-s",
    "4096",
    "-e",
    "signal=none",
    "-e",
    "trace=%file,%desc,%network,%process,sethostname,setdomainname,settimeofday,clock_settime,clock_adjtime,adjtimex,\
     init_module,finit_module,delete_module,reboot,kexec_load,kexec_file_load,add_key,keyctl,shmget,msgget,semget",
];

/// Calls that only look, wait, or move what is this process's own.
const LOOKS: &[&str] = &[
    "access",
    "faccessat",
    "faccessat2",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "readlink",
    "readlinkat",
    "getcwd",
    "chdir",
    "fchdir",
    "getdents",
    "getdents64",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "name_to_handle_at",
    "read",
    "pread64",
    "readv",
    "preadv",
    "preadv2",
    "lseek",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "flock",
    "fadvise64",
    "readahead",
    "mmap",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "signalfd4",
    "timerfd_create",
    "timerfd_settime",
    "inotify_init1",
    "inotify_add_watch",
    "memfd_create",
    "pidfd_open",
    "socketpair",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "shutdown",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
];

/// Files that may be opened for writing: nothing that is written there stays.
const SINKS: &[&str] = &["/dev/null", "/dev/tty"];

/// What the first argument of a write may be: nobody's file.
const OWN: &[&str] = &["pipe:", "socket:", "anon_inode:", "/memfd:", "/dev/null>", "/dev/tty>"];

/// Sockets on which read-only questions are asked. That the question is one is told by the program and its arguments.
const DOORS: &[&str] = &["/run/systemd/private", "/run/dbus/system_bus_socket", "/var/run/nscd/socket"];

/// Programs that only answer, and the first words that they may be called with; no words: any.
const QUESTIONS: &[(&str, &[&str])] =
    &[("dpkg-query", &[]), ("id", &[]), ("systemctl", &["show", "is-enabled", "is-active"]), ("sshd", &["-T", "-t"])];

/// One call, as it was entered.
struct Call<'a> {
    process: &'a str,
    name: &'a str,
    args: &'a str,
}

/// `None`: the second half of a call, a signal, or an end.
fn parse(line: &str) -> Option<Call<'_>> {
    let (process, rest) = line.split_once(' ')?;
    let (name, args) = rest.trim_start().split_once('(')?;
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (plain && !name.is_empty()).then_some(Call { process, name, args })
}

/// Every call that writes, from the moment that `program` runs. What started the program is none of its business.
pub fn writes(trace: &str, program: &str) -> Vec<String> {
    let starts = |call: &Call<'_>| call.name == "execve" && words(call.args).first() == Some(&program.to_string());
    let mut others: BTreeSet<&str> = BTreeSet::new();
    let mut calls = trace.lines().filter_map(parse);
    let start = calls.by_ref().find(|call| {
        others.insert(call.process);
        starts(call)
    });
    let start = start.unwrap_or_else(|| panic!("`{program}` was never started:\n{trace}"));
    others.remove(start.process);
    let own = calls.filter(|call| !others.contains(call.process));
    own.filter_map(|call| Some(format!("{}: {}({}", why(&call)?, call.name, call.args))).collect()
}

/// Why a call counts as writing.
fn why(call: &Call<'_>) -> Option<&'static str> {
    let args = call.args;
    let harmless = match call.name {
        name if LOOKS.contains(&name) => true,
        "open" | "openat" | "openat2" => {
            let (path, rest) = quoted(args)?;
            let flags = rest.split(" = ").next().unwrap_or(rest);
            let writing = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE", "O_APPEND"];
            !writing.iter().any(|flag| flags.contains(flag)) || SINKS.contains(&path.as_str())
        }
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "ftruncate" | "fchmod" => {
            let descriptor = args.split_once('<').map_or("", |(_, what)| what);
            OWN.iter().any(|own| descriptor.starts_with(own))
        }
        "ioctl" => ["TCGETS", "TIOCGWINSZ", "FIONREAD", "FIONBIO", "FIOCLEX"].iter().any(|ask| args.contains(ask)),
        "socket" => args.starts_with("AF_UNIX") || args.starts_with("AF_NETLINK"),
        "connect" => args.contains("AF_UNIX") && quoted(args).is_some_and(|(path, _)| DOORS.contains(&path.as_str())),
        // A name that is nowhere on disk: systemd's own programs give their end of a socket one.
        "bind" => args.contains("sun_path=@"),
        "execve" | "execveat" => return (!is_question(&words(args))).then_some("starts a program"),
        _ => false,
    };
    (!harmless).then_some("writes")
}

/// Whether a program with these words only answers. The first word is its path, the second what it is called.
fn is_question(words: &[String]) -> bool {
    let Some(name) = words.first().and_then(|path| path.rsplit('/').next()) else { return false };
    let verb = words.get(2).map_or("", String::as_str);
    QUESTIONS.iter().any(|(program, verbs)| *program == name && (verbs.is_empty() || verbs.contains(&verb)))
}

/// The first quoted word, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let start = text.find('"')? + 1;
    let mut escaped = false;
    let end = text[start..].find(|c| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })?;
    Some((text[start..start + end].to_string(), &text[start + end + 1..]))
}

/// The path of a program and its arguments; the environment is a number.
fn words(args: &str) -> Vec<String> {
    let mut rest = args;
    let mut words = Vec::new();
    while let Some((word, after)) = quoted(rest) {
        words.push(word);
        rest = after;
        if rest.starts_with(']') {
            break;
        }
    }
    words
}

/// The classifier, made to fire on each thing that it is there for.
#[test]
fn it_knows_a_write_when_it_sees_one() {
    let program = "/usr/local/bin/labwright";
    let begin = format!(
        "7 execve(\"/usr/bin/nsenter\", [\"nsenter\"], 0x7 /* 3 vars */) = 0\n7 mkdir(\"/outside\", 0755) = 0\n\
         8 execve(\"{program}\", [\"labwright\", \"plan\"], 0x7 /* 3 vars */) = 0\n"
    );
    let found = |line: &str| writes(&format!("{begin}{line}\n"), program);
    for line in [
        r#"8 openat(AT_FDCWD, "/etc/lw", O_WRONLY|O_CREAT|O_CLOEXEC, 0644) = 3</etc/lw>"#,
        r#"8 openat(AT_FDCWD, "/etc/lw", O_RDWR|O_CLOEXEC) = -1 EACCES (Permission denied)"#,
        r#"9 openat(AT_FDCWD, "/etc/lw", O_RDONLY|O_CREAT|O_CLOEXEC, 0644 <unfinished ...>"#,
        r#"8 openat2(AT_FDCWD, "/etc/lw", {flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS}, 24) = 3</etc/lw>"#,
        r#"8 openat(AT_FDCWD, "/dev/null\"", O_RDWR) = 3</dev/null">"#,
        r#"8 mkdir("/var/lib/labwright", 0777) = -1 EEXIST (File exists)"#,
        r#"8 unlinkat(3</etc>, "lw", 0) = 0"#,
        r#"8 rename("/etc/a", "/etc/b") = 0"#,
        r#"8 write(3</etc/lw>, "x", 1) = 1"#,
        r#"8 write(3</dev/nullify>, "x", 1) = 1"#,
        r#"8 ftruncate(3</etc/lw>, 0) = 0"#,
        r#"8 fchmod(3</etc/lw>, 0644) = 0"#,
        r#"8 fchown(3</etc/lw>, 0, 0) = 0"#,
        r#"8 utimensat(3</etc/lw>, NULL, NULL, 0) = 0"#,
        r#"8 symlinkat("a", AT_FDCWD</root>, "b") = 0"#,
        r#"8 copy_file_range(3</a>, NULL, 4</b>, NULL, 10, 0) = 10"#,
        r#"8 mount("a", "/mnt", "tmpfs", 0, NULL) = 0"#,
        r#"8 ioctl(3</etc/lw>, FS_IOC_SETFLAGS, [0]) = 0"#,
        r#"8 sethostname("x", 1) = 0"#,
        r#"8 kill(7, SIGTERM) = 0"#,
        r#"8 socket(AF_INET, SOCK_STREAM, IPPROTO_IP) = 3<socket:[1]>"#,
        r#"8 connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/docker.sock"}, 110) = 0"#,
        r#"8 execve("/usr/sbin/useradd", ["useradd", "ada"], 0x7 /* 3 vars */) = 0"#,
        r#"8 execve("/bin/systemctl", ["systemctl", "start", "x.service"], 0x7 /* 3 vars */) = 0"#,
        r#"8 a_call_of_tomorrow(1) = 0"#,
    ] {
        assert_eq!(found(line).len(), 1, "not seen: {line}");
    }
    for line in [
        r#"8 openat(AT_FDCWD</root>, "/etc/O_RDWR", O_RDONLY|O_CLOEXEC) = 3</etc/O_RDWR>"#,
        r#"8 openat(AT_FDCWD, "/dev/null", O_RDWR|O_CLOEXEC) = 3</dev/null>"#,
        r#"8 write(1<pipe:[123]>, "plan", 4) = 4"#,
        r#"8 write(5</memfd:output>, "x", 1) = 1"#,
        r#"9 <... openat resumed>) = 3</etc/passwd>"#,
        r#"9 +++ exited with 0 +++"#,
        r#"7 unlink("/outside") = 0"#,
        r#"9 execve("/bin/systemctl", ["systemctl", "show", "--", "x.service"], 0x7 /* 3 vars */) = 0"#,
        r#"9 execve("/usr/bin/dpkg-query", ["dpkg-query", "--show"], 0x7 /* 3 vars */) = 0"#,
        r#"9 connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/run/systemd/private"}, 22) = 0"#,
    ] {
        assert_eq!(found(line), Vec::<String>::new(), "{line}");
    }
}
