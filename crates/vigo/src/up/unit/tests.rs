use std::ffi::OsString;

use crate::context::Facts;

use super::*;

/// A user, or root, with a home below `dir`, on a machine that systemd runs.
fn context(dir: &Path, uid: u32) -> Context {
    let variable = |name: &str| -> Option<OsString> {
        match name {
            "HOME" => Some(dir.join("home").into()),
            "XDG_RUNTIME_DIR" => Some(dir.join("run").into()),
            "XDG_CONFIG_HOME" => Some(dir.join("config").into()),
            "PATH" => Some("/usr/local/bin:/usr/bin:/bin".into()),
            "USER" => Some("dan".into()),
            _ => None,
        }
    };
    let private = dir.join("run/systemd/private");
    let exists = |path: &Path| path == Path::new("/run/systemd/system") || path == private;
    let mut facts = Facts::from_lookup(uid, &variable, &exists);
    facts.program = Some("/usr/local/bin/vigo".into());
    Context::new(facts, None).expect("a layout")
}

fn text(context: &Context) -> String {
    let manager = Manager::find(context).expect("a manager");
    let program = context.facts.program.clone().expect("a program");
    let path = context.facts.path.clone().unwrap_or_default();
    manager.text(&program, &path).expect("a unit")
}

#[test]
fn root_and_users_have_units_of_their_own_and_other_directories_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = Manager::find(&context(dir.path(), 0)).expect("the machine's");
    assert_eq!(
        root.unit,
        Path::new("/etc/systemd/system/vigo-gitback.service")
    );
    let user = context(dir.path(), 1000);
    let manager = Manager::find(&user).expect("the user's");
    assert_eq!(
        manager.unit,
        dir.path().join("config/systemd/user/vigo-gitback.service")
    );
    assert!(manager.ends_with_the_login(&user));
    let apart = Context::new(user.facts.clone(), Some(dir.path().to_owned())).expect("a layout");
    assert!(Manager::find(&apart).is_none());
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: systemd-analyze is not installed"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (uid, whose) in [(0, "--system"), (1000, "--user")] {
        let mut context = context(dir.path(), uid);
        // It looks for the program.
        context.facts.program = Some("/usr/bin/env".into());
        let file = dir.path().join(UNIT);
        fs::write(&file, text(&context)).expect("written");
        let output = Command::new("/usr/bin/systemd-analyze")
            .args([whose, "--man=no", "--generators=no", "verify"])
            .arg(&file)
            .env("XDG_RUNTIME_DIR", dir.path())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let about_us: Vec<&str> = said.lines().filter(|line| line.contains(UNIT)).collect();
        assert!(about_us.is_empty(), "{whose}: {said}");
    }
}

#[test]
fn the_machines_unit_has_the_directories_of_its_layout() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = text(&context(dir.path(), 0));
    for line in [
        "ExecStart=\"/usr/local/bin/vigo\" envoy run",
        "Environment=\"PATH=/usr/local/bin:/usr/bin:/bin\"",
        "Environment=MALLOC_ARENA_MAX=2",
        "Environment=GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
        "StateDirectory=vigo",
        "RuntimeDirectory=vigo",
        "WantedBy=multi-user.target",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in {text}");
    }
}

#[test]
fn a_path_that_systemd_would_read_differently_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let context = context(dir.path(), 0);
    let manager = Manager::find(&context).expect("a manager");
    for path in [
        "/opt/%h/vigo",
        "/opt/a\"b/vigo",
        "/opt/$x/vigo",
        "/opt/a\nb/vigo",
    ] {
        assert_eq!(
            manager.text(Path::new(path), OsStr::new("/bin")),
            None,
            "{path}"
        );
    }
}

/// A `systemctl` that writes down how it was called.
fn fake_systemctl(dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).expect("a directory");
    let called = dir.join("called");
    let program = bin.join("systemctl");
    let shown = dir.join("shown");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{}'\nif [ \"$2\" = show ]; then cat '{}'; fi\n",
        called.display(),
        shown.display()
    );
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    called
}

#[test]
fn a_unit_is_written_once_kept_up_to_date_and_left_alone_where_it_is_a_persons() {
    let dir = tempfile::tempdir().expect("a directory");
    let called = fake_systemctl(dir.path());
    let mut context = context(dir.path(), 1000);
    context.facts.path = Some(format!("{}:/usr/bin:/bin", dir.path().join("bin").display()).into());
    let manager = Manager::find(&context).expect("a manager");
    let calls = || fs::read_to_string(&called).unwrap_or_default();

    manager.install(&context).expect("written");
    assert_eq!(calls(), "--user daemon-reload\n");
    manager.install(&context).expect("there already");
    assert_eq!(calls().lines().count(), 1);
    manager.enable(&context).expect("started");
    manager.disable(&context).expect("ended");
    let last: Vec<String> = calls().lines().skip(1).map(str::to_owned).collect();
    assert_eq!(
        last,
        [
            "--user enable vigo-gitback.service",
            "--user reset-failed vigo-gitback.service",
            "--user show --property=ActiveState,NRestarts vigo-gitback.service",
            "--user start --no-block vigo-gitback.service",
            "--user disable --now vigo-gitback.service"
        ]
    );

    context.facts.program = Some("/opt/vigo/vigo".into());
    manager.install(&context).expect("written anew");
    let unit = fs::read_to_string(&manager.unit).expect("a unit");
    assert!(unit.contains("\"/opt/vigo/vigo\" envoy run"), "{unit}");

    fs::write(&manager.unit, "[Service]\nExecStart=/bin/true\n").expect("a person's own");
    manager.install(&context).expect("left alone");
    let unit = fs::read_to_string(&manager.unit).expect("a unit");
    assert_eq!(unit, "[Service]\nExecStart=/bin/true\n");
}

#[test]
fn a_unit_that_had_to_be_started_again_has_failed() {
    let dir = tempfile::tempdir().expect("a directory");
    fake_systemctl(dir.path());
    let mut context = context(dir.path(), 1000);
    context.facts.path = Some(format!("{}:/usr/bin:/bin", dir.path().join("bin").display()).into());
    let manager = Manager::find(&context).expect("a manager");
    let shows = |text: &str| fs::write(dir.path().join("shown"), text).expect("written");
    // That it was started again long ago, and runs since, says nothing.
    shows("ActiveState=active\nNRestarts=3\n");
    let before = manager.enable(&context).expect("started");
    for (shown, failed) in [
        ("ActiveState=activating\nNRestarts=3\n", false),
        ("NRestarts=0\nActiveState=active\n", false),
        ("NRestarts=4\nActiveState=activating\n", true),
        ("NRestarts=0\nActiveState=failed\n", true),
        ("", false),
    ] {
        shows(shown);
        assert_eq!(manager.failed(&context, before), failed, "{shown}");
    }
}

#[test]
fn root_runs_nothing_that_others_can_change() {
    use std::os::unix::fs::PermissionsExt as _;
    let real = fs::canonicalize("/bin/sh").expect("a shell");
    assert_eq!(is_roots_alone(Path::new("/bin/sh")), Ok(real));
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("vigo");
    fs::write(&program, "").expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    // Below a directory into which everybody may put things.
    assert!(is_roots_alone(&program).is_err());
    assert!(is_roots_alone(&dir.path().join("missing")).is_err());

    let mut context = context(dir.path(), 0);
    context.facts.program = Some(program);
    let failure = Manager::find(&context)
        .expect("a manager")
        .install(&context)
        .expect_err("refused");
    assert_eq!(failure.code, exit_code::NOT_PERMITTED);
    assert!(
        failure
            .hints
            .iter()
            .any(|hint| hint.contains("sudo install")),
        "{failure}"
    );
}
