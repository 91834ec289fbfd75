use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use gitback_helper::{
    AcceptError, AddressFault, BindError, Client, ConnectError, Limits, Listener, SOCKET_PATH_MAX,
};

use crate::place::{Place, SOON, serve_one};

#[test]
fn the_caller_is_who_the_kernel_says() {
    let place = Place::new();
    let uid = serve_one(place.listen(Limits::default()), |connection| {
        connection.uid()
    });
    let _client = place.client();

    assert_eq!(
        uid.recv_timeout(SOON).expect("the server ends"),
        rustix::process::getuid().as_raw()
    );
}

/// Only root can be somebody else; an ordinary user's run proves nothing more than the test above.
#[test]
fn another_user_is_seen_as_such() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::new();
    let directory = place.socket().parent().expect("a directory").to_owned();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("our directory");
    let uid = serve_one(place.listen(Limits::default()), |connection| {
        connection.uid()
    });
    let script = "import socket, sys, os\n\
                  os.setuid(4242)\n\
                  s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)";
    let Ok(mut other) = Command::new("python3")
        .args(["-c", script])
        .arg(place.socket())
        .spawn()
    else {
        return;
    };

    assert_eq!(uid.recv_timeout(SOON).expect("the server ends"), 4242);
    other.wait().expect("it ends with the connection");
}

#[test]
fn the_socket_has_the_mode_asked_for() {
    for mode in [0o600, 0o666] {
        let place = Place::new();
        let _listener = Listener::bind(&place.socket(), mode).expect("the path is free");
        let found = fs::metadata(place.socket())
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode);
    }
}

#[test]
fn the_directory_is_made_for_those_who_may_use_the_socket() {
    for (socket_mode, expected) in [(0o600, 0o700), (0o666, 0o755)] {
        let place = Place::new();
        let socket = place
            .socket()
            .with_file_name("var")
            .join("run/gitback.sock");
        let _listener = Listener::bind(&socket, socket_mode).expect("the path is free");

        let directory = socket.parent().expect("a directory");
        let mode = fs::metadata(directory).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, expected);
    }
}

#[test]
fn a_live_daemon_is_not_pushed_aside() {
    let place = Place::new();
    let _first = place.listen(Limits::default());
    let error = Listener::bind(&place.socket(), 0o600).expect_err("it is served");
    assert!(
        matches!(error, BindError::AlreadyServed { .. }),
        "{error:?}"
    );
    assert!(
        Client::connect(&place.socket()).is_ok(),
        "the first still answers"
    );
}

/// The lock file can be lost to a cleaner of old files.
#[test]
fn a_live_daemon_is_not_pushed_aside_without_its_lock_either() {
    let place = Place::new();
    let _first = UnixListener::bind(place.socket()).expect("the path is free");
    let error = Listener::bind(&place.socket(), 0o600).expect_err("it is served");
    assert!(
        matches!(error, BindError::AlreadyServed { .. }),
        "{error:?}"
    );
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let place = Place::new();
    // The standard library leaves the file when the listener closes, as a crash does.
    drop(UnixListener::bind(place.socket()).expect("the path is free"));
    let error = Client::connect(&place.socket()).expect_err("nobody listens");
    assert!(error.is_not_running(), "{error:?}");

    let _listener = place.listen(Limits::default());
    assert!(Client::connect(&place.socket()).is_ok());
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let place = Place::new();
    fs::write(place.socket(), "mine").expect("a file");
    let error = Listener::bind(&place.socket(), 0o600).expect_err("a file is there");

    assert!(matches!(error, BindError::InTheWay { .. }), "{error:?}");
    assert_eq!(
        fs::read_to_string(place.socket()).expect("it is there"),
        "mine"
    );
}

#[test]
fn the_socket_is_gone_with_its_listener() {
    let place = Place::new();
    drop(place.listen(Limits::default()));

    assert!(!place.socket().exists());
    let error = Client::connect(&place.socket()).expect_err("nobody listens");
    assert!(error.is_not_running(), "{error:?}");
    drop(place.listen(Limits::default()));
}

#[test]
fn a_stopper_wakes_a_thread_that_waits() {
    let place = Place::new();
    let listener = place.listen(Limits::default());
    let stopper = listener.stopper();
    let waiting = std::thread::spawn(move || listener.accept().map(|_| ()));
    stopper.stop();

    let error = waiting.join().expect("no panic").expect_err("stopped");
    assert!(matches!(error, AcceptError::Stopped), "{error:?}");
}

#[test]
fn a_path_too_long_names_itself_and_the_remedy() {
    let place = Place::new();
    let directory = place.socket().with_file_name("d".repeat(SOCKET_PATH_MAX));
    let socket = directory.join("gitback.sock");

    let BindError::Address(fault) = Listener::bind(&socket, 0o600).expect_err("too long") else {
        panic!("another error");
    };
    assert!(matches!(fault, AddressFault::TooLong { .. }), "{fault:?}");
    let text = fault.to_string();
    assert!(
        text.contains(&socket.display().to_string()) && text.contains("--root"),
        "{text}"
    );

    let error = Client::connect(&socket).expect_err("too long");
    assert!(
        matches!(error, ConnectError::Address(AddressFault::TooLong { .. })),
        "{error:?}"
    );
}

#[test]
fn the_longest_path_that_fits_works() {
    let place = Place::new();
    let directory = place.socket().parent().expect("a directory").to_owned();
    let used = directory.as_os_str().len() + 1;
    let socket = directory.join("s".repeat(SOCKET_PATH_MAX - used));
    // The lock file beside it is longer still, which the file system does not mind.
    let _listener = Listener::bind(&socket, 0o600).expect("it fits");
    assert!(Client::connect(&socket).is_ok());
}

#[test]
fn a_socket_for_others_is_not_permitted() {
    if rustix::process::getuid().is_root() {
        // Root may use every socket.
        return;
    }
    let place = Place::new();
    let _listener = Listener::bind(&place.socket(), 0o000).expect("the path is free");
    let error = Client::connect(&place.socket()).expect_err("no permission");
    assert!(
        matches!(error, ConnectError::NotPermitted { .. }),
        "{error:?}"
    );
}
