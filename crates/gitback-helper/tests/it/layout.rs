use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use gitback_helper::{Environment, Layout, LayoutError, Mode, SYSTEM_SOCKET};

fn environment(uid: u32, variables: &[(&str, &str)], existing: &[&str]) -> Environment {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Environment::from_lookup(
        None,
        uid,
        &|name| variables.get(name).map(OsString::from),
        &|path| existing.iter().any(|known| Path::new(known) == path),
    )
}

fn check(environment: &Environment, mode: Mode, paths: [&str; 9]) {
    let layout = Layout::choose(environment).expect("a layout");
    let [
        state,
        helper,
        session,
        config,
        puddle,
        projects,
        identity,
        repositories,
        envelopes,
    ] = paths.map(PathBuf::from);
    assert_eq!(
        layout,
        Layout {
            mode,
            state_dir: state,
            helper_socket: helper,
            session_socket: session,
            config_file: config,
            puddle_dir: puddle,
            projects_dir: projects,
            identity_dir: identity,
            repositories_dir: repositories,
            envelopes_dir: envelopes,
        }
    );
}

const MACHINE: [&str; 9] = [
    "/var/lib/vigo",
    "/var/run/vigo/gitback.sock",
    "/run/user/1000/vigo/puddle.sock",
    "/etc/vigo/envoy.toml",
    "/home/dan/.vigo-puddle",
    "/home/dan/.vigo-gitback",
    "/var/lib/vigo/identity",
    "/var/lib/vigo/swarm/gitback/projects",
    "/var/lib/vigo/swarm/gitback/envelopes",
];

#[test]
fn a_user_goes_to_the_machines_daemon_where_there_is_one() {
    let facts = environment(
        1000,
        &[("HOME", "/home/dan")],
        &[SYSTEM_SOCKET, "/run/user/1000"],
    );
    check(&facts, Mode::Root, MACHINE);
}

#[test]
fn a_user_without_one_has_everything_in_their_own_directories() {
    let facts = environment(
        1000,
        &[
            ("HOME", "/home/dan"),
            ("XDG_RUNTIME_DIR", "/run/dan"),
            ("XDG_DATA_HOME", "relative"),
        ],
        &[],
    );
    check(
        &facts,
        Mode::User,
        [
            "/home/dan/.local/share/vigo",
            "/run/dan/vigo/gitback.sock",
            "/run/dan/vigo/puddle.sock",
            "/home/dan/.config/vigo/envoy.toml",
            "/home/dan/.vigo-puddle",
            "/home/dan/.vigo-gitback",
            "/home/dan/.local/share/vigo/identity",
            "/home/dan/.local/share/vigo/swarm/gitback/projects",
            "/home/dan/.local/share/vigo/swarm/gitback/envelopes",
        ],
    );
}

#[test]
fn xdg_directories_are_obeyed() {
    let facts = environment(
        1000,
        &[
            ("HOME", "/home/dan"),
            ("XDG_RUNTIME_DIR", "/run/dan"),
            ("XDG_DATA_HOME", "/data"),
            ("XDG_CONFIG_HOME", "/config"),
        ],
        &[],
    );
    let layout = Layout::choose(&facts).expect("a layout");
    assert_eq!(layout.state_dir, Path::new("/data/vigo"));
    assert_eq!(layout.config_file, Path::new("/config/vigo/envoy.toml"));
}

#[test]
fn root_at_boot_needs_no_variables() {
    let layout = Layout::choose(&environment(0, &[], &[])).expect("a layout");
    assert_eq!(layout.mode, Mode::Root);
    assert_eq!(layout.helper_socket, Path::new(SYSTEM_SOCKET));
    assert_eq!(
        layout.session_socket,
        Path::new("/var/run/vigo/puddle.sock")
    );
    assert_eq!(layout.puddle_dir, Path::new("/root/.vigo-puddle"));
}

#[test]
fn a_root_directory_holds_the_whole_tree_and_needs_no_home() {
    for (flag, variable) in [(Some(PathBuf::from("/d")), ""), (None, "/d")] {
        let facts = Environment::from_lookup(
            flag,
            1000,
            &|name| (name == "VIGO_ROOT").then(|| OsString::from(variable)),
            &|_| true,
        );
        check(
            &facts,
            Mode::RootDir,
            [
                "/d/var/lib/vigo",
                "/d/var/run/vigo/gitback.sock",
                "/d/var/run/vigo/puddle.sock",
                "/d/etc/vigo/envoy.toml",
                "/d/home/.vigo-puddle",
                "/d/home/.vigo-gitback",
                "/d/var/lib/vigo/identity",
                "/d/var/lib/vigo/swarm/gitback/projects",
                "/d/var/lib/vigo/swarm/gitback/envelopes",
            ],
        );
    }
}

#[test]
fn the_flag_wins_over_the_variable() {
    let facts = Environment::from_lookup(
        Some(PathBuf::from("/flag")),
        0,
        &|_| Some(OsString::from("/variable")),
        &|_| true,
    );
    assert_eq!(facts.root, Some(PathBuf::from("/flag")));
}

#[test]
fn a_user_without_directories_is_told_which() {
    let error = Layout::choose(&environment(1000, &[("HOME", "")], &["/run/user/1000"]));
    assert!(matches!(error, Err(LayoutError::NoHome)), "{error:?}");
    let error = Layout::choose(&environment(1000, &[("HOME", "/home/dan")], &[]));
    assert!(
        matches!(error, Err(LayoutError::NoRuntimeDir { uid: 1000 })),
        "{error:?}"
    );
}
