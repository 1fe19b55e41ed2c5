//! A BMC of others, `ipmi_sim` of `OpenIPMI`, behind a relay for datagrams with the quirks of [`DeviceBehaviour`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use power::PowerState;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::conformance::DeviceBehaviour;
use crate::foreign_programs::tool;

pub(crate) const USER: &str = "lifeguard";
pub(crate) const PASSWORD: &str = "s3-cret";

/// The power of the chassis: `chassis.sh 0x20 get power`, `chassis.sh 0x20 set power 1`. A reading shows what was set before
/// the last `late` readings.
const CHASSIS: &str = r#"
cd "${0%/*}"
if [ "$2" = get ]; then
    late=$(cat late)
    if [ "$late" -gt 0 ]; then
        echo $((late - 1)) > late
    elif [ -e next ]; then
        mv next power
    fi
    echo "power:$(cat power)"
    exit
fi
echo "$4" >> orders
if [ "$(cat behaviour)" != Lies ]; then
    cp late_after_order late
    echo "$4" > next.new
    mv next.new next
    if [ "$(cat late)" -eq 0 ]; then mv next power; fi
fi
"#;

/// A BMC with one chassis. It ends with the value.
pub(crate) struct TestBmc {
    /// The address of the relay before the BMC.
    pub(crate) addr: SocketAddr,
    directory: TempDir,
    simulator: Child,
    shared: Arc<Mutex<Shared>>,
    _relay: JoinSet<()>,
}

struct Shared {
    behaviour: DeviceBehaviour,
    clients: usize,
}

/// The programs that the tests need; `None`, with a note, where one is missing.
pub(crate) fn programs() -> Option<PathBuf> {
    tool("ipmitool", "ipmitool").and(tool("ipmi_sim", "openipmi"))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap()
}

impl TestBmc {
    /// Starts a BMC whose chassis has this state.
    pub(crate) async fn start(behaviour: DeviceBehaviour, state: PowerState) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let write = |name: &str, text: &str| fs_err::write(path.join(name), text).unwrap();
        // Free when it was asked for; another process that takes it makes the test fail.
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        write("chassis.sh", CHASSIS);
        write("power", if state == PowerState::On { "1" } else { "0" });
        for (name, text) in
            [("orders", ""), ("late", "0"), ("late_after_order", "0"), ("behaviour", "Normal")]
        {
            write(name, text);
        }
        write(
            "lan.conf",
            &format!(
                "name \"bmc\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {}\n    priv_limit admin\n    \
                 allowed_auths_operator md5\n    allowed_auths_admin md5\n    guid a123456789abcdefa123456789abcdef\n  endlan\n  \
                 chassis_control \"sh {}/chassis.sh 0x20\"\n  user 2 true \"{USER}\" \"{PASSWORD}\" admin 10 md5\n  \
                 user 3 true \"viewer\" \"{PASSWORD}\" user 10 md5\n",
                upstream.port(),
                path.display()
            ),
        );
        write(
            "commands",
            "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n",
        );
        fs_err::create_dir(path.join("state")).unwrap();
        let simulator = Command::new("ipmi_sim")
            .args(["-n", "-c", "lan.conf", "-f", "commands", "-s", "state"])
            .current_dir(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let addr = socket.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { behaviour, clients: 0 }));
        let mut relay = JoinSet::new();
        relay.spawn(pass_on(socket, upstream, Arc::clone(&shared), path.join("orders")));
        let bmc = Self { addr, directory, simulator, shared, _relay: relay };
        bmc.set_behaviour(behaviour);
        until_ready(upstream).await;
        bmc
    }

    pub(crate) fn set_behaviour(&self, behaviour: DeviceBehaviour) {
        lock(&self.shared).behaviour = behaviour;
        self.write("behaviour", &format!("{behaviour:?}"));
    }

    /// Shows an order only after this many readings that show the state before.
    pub(crate) fn switch_late(&self, readings: u32) {
        self.write("late_after_order", &readings.to_string());
    }

    pub(crate) fn state(&self) -> PowerState {
        let directory = self.directory.path();
        let next = fs_err::read_to_string(directory.join("next"));
        let power = next.or_else(|_| fs_err::read_to_string(directory.join("power"))).unwrap();
        state(power.trim())
    }

    pub(crate) fn received_orders(&self) -> Vec<PowerState> {
        let orders = fs_err::read_to_string(self.directory.path().join("orders")).unwrap();
        orders.lines().map(state).collect()
    }

    /// The number of sockets that have sent something.
    pub(crate) fn clients(&self) -> usize {
        lock(&self.shared).clients
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.directory.path().join(name), text).unwrap();
    }
}

impl Drop for TestBmc {
    fn drop(&mut self) {
        self.simulator.kill().ok();
        self.simulator.wait().ok();
    }
}

fn state(word: &str) -> PowerState {
    if word == "1" { PowerState::On } else { PowerState::Off }
}

/// Asks for the authentication capabilities until they are answered. Source: a datagram of `ipmitool`.
async fn until_ready(bmc: SocketAddr) {
    const REQUEST: &[u8] =
        b"\x06\x00\xff\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x20\x18\xc8\x81\x00\x38\x8e\x04\xb5";
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(bmc).await.unwrap();
    let mut buffer = [0; 64];
    for _ in 0..200 {
        // Refused until the simulator has its socket.
        socket.send(REQUEST).await.ok();
        tokio::select! {
            biased;
            Ok(_) = socket.recv(&mut buffer) => return,
            () = clock::sleep_real_time(std::time::Duration::from_millis(100)) => {}
        }
    }
    unreachable!("ipmi_sim does not answer");
}

/// One client of the BMC: `ipmitool` has a socket for each run.
struct Session {
    socket: UdpSocket,
    /// The file with the orders, and how many there were before the session.
    orders: PathBuf,
    orders_before: usize,
}

impl Session {
    async fn begin(bmc: SocketAddr, orders: PathBuf) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(bmc).await.unwrap();
        let orders_before = count_orders(&orders);
        Self { socket, orders, orders_before }
    }

    /// A mute BMC is deaf too from its order on: `ipmitool` would repeat the order.
    fn is_over(&self, behaviour: DeviceBehaviour) -> bool {
        behaviour == DeviceBehaviour::Mute && count_orders(&self.orders) > self.orders_before
    }
}

fn count_orders(orders: &Path) -> usize {
    fs_err::read_to_string(orders).unwrap().lines().count()
}

/// Passes datagrams on to the BMC and its answers back.
async fn pass_on(socket: Arc<UdpSocket>, bmc: SocketAddr, shared: Arc<Mutex<Shared>>, orders: PathBuf) {
    let mut sessions: HashMap<SocketAddr, Arc<Session>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        let behaviour = lock(&shared).behaviour;
        let session = match sessions.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                lock(&shared).clients += 1;
                let session = Arc::new(Session::begin(bmc, orders.clone()).await);
                answers.spawn(pass_back(
                    Arc::clone(&socket),
                    client,
                    Arc::clone(&session),
                    Arc::clone(&shared),
                ));
                new.insert(session)
            }
        };
        match behaviour {
            DeviceBehaviour::Refuses | DeviceBehaviour::Hangs => {}
            DeviceBehaviour::Foreign => _ = socket.send_to(b"HTTP/1.1 400 Bad Request\r\n\r\n", client).await,
            DeviceBehaviour::Normal | DeviceBehaviour::Mute | DeviceBehaviour::Lies => {
                if !session.is_over(behaviour) {
                    session.socket.send(&buffer[..length]).await.unwrap();
                }
            }
        }
    }
}

/// Passes the answers of one session back.
async fn pass_back(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    session: Arc<Session>,
    shared: Arc<Mutex<Shared>>,
) {
    let mut buffer = [0; 2048];
    while let Ok(length) = session.socket.recv(&mut buffer).await {
        let behaviour = lock(&shared).behaviour;
        if !session.is_over(behaviour) {
            socket.send_to(&buffer[..length], client).await.ok();
        }
    }
}
