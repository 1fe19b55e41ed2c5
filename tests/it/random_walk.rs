//! Test of a random walk of several boards: their history replays to the stored instances.

use std::sync::Arc;
use std::time::Duration;

use lifeguard::store::Store;
use reqwest::Method;
use serde_json::json;

use crate::rack::Rack;
use crate::replay::assert_history_gives_instances;
use crate::world::{World, pass_time_during};

/// Pseudo-random numbers, the same for the same seed; independent of the simulated farm's generator. Source: Vigna,
/// `splitmix64`, public domain, 2015.
struct WalkRandom(u64);

impl WalkRandom {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

const REPORTS: &[&str] = &[
    "image-running",
    "image-running?visit=3",
    "live-running",
    "image-installing",
    "image-installed",
    "image-failed?reason=x",
    "image-failed?reason=x&fault=image",
    "image-failed?reason=x&fault=board",
    "self-test-running",
    "self-test-ok",
    "self-test-failed?reason=x",
    "maintenance-running",
];
const REQUESTS: &[&str] = &["rq-reboot", "rq-reimage", "rq-reimage", "rq-self-test", "rq-maintenance"];
const STATES: &[&str] = &[
    "New",
    "Ready",
    "LockedOut",
    "RebootComplete",
    "ReimageBooting",
    "ReimageBooted",
    "ReimageInstalling",
    "ReimageClearing",
    "ReimageDone",
    "SelfTestRunning",
    "FailedBadBoard",
    "Nowhere",
];

/// Sends one request or event to `name`, which may be invalid in its state.
async fn step(world: &World, random: &mut WalkRandom, name: &str) {
    let path = format!("/api/v1/devices/{name}");
    let (path, body) = match random.below(20) {
        0..8 => (format!("{path}/events/{}", random.one_of(REPORTS)), json!({ "number": random.below(9) })),
        8..13 => {
            let image = random.one_of(&["linux", "linux", "bsd"]);
            let config = json!({ "root": random.below(9), "depth": 1.5e-7, "é": null });
            let body = json!({ "image": image, "boot_config": config });
            (format!("{path}/requests/{}", random.one_of(REQUESTS)), body)
        }
        13..15 => {
            let from = if random.below(4) == 0 { "Ready".to_owned() } else { world.state(name).await };
            let body = json!({ "from": from, "to": random.one_of(STATES), "reason": "chance" });
            (format!("{path}/force"), body)
        }
        _ => {
            let most = random.one_of(&["50", "3000", "60000", "200000", "600000"]).parse().unwrap();
            world.clock.advance(Duration::from_millis(random.below(most)));
            return;
        }
    };
    let (status, answer) = world.call(Method::POST, &path, Some(body)).await;
    assert!(matches!(status.as_u16(), 200 | 409 | 422), "{path}: {status} {answer}");
}

async fn walk(seed: u64) {
    let one = World::new().await;
    let other = one.second_server().await;
    let rack = Rack::new(&one, 3);
    for image in ["linux", "self-test", "maintenance"] {
        one.image(image).await;
    }
    let names = ["b0", "b1", "b2", "b3"];
    for (coil, name) in (0..3).zip(names) {
        one.register(name, rack.power_facts(coil)).await;
    }
    one.register("b3", json!({ "fqdn": "127.0.0.1" })).await;
    let mut random = WalkRandom(seed);
    for _ in 0..200 {
        let name = random.one_of(&names);
        let world = if random.below(2) == 0 { &one } else { &other };
        step(world, &mut random, name).await;
    }
    // Running power cycles are finished, and need time for their off time.
    let database = Arc::clone(&one.database);
    let clock = one.clock.clone();
    let stopped = async {
        let (one, other) = tokio::join!(one.server.stop(), other.server.stop());
        one.unwrap();
        other.unwrap();
    };
    pass_time_during("the end of both servers", &clock, stopped).await;
    assert_history_gives_instances(&Store::open(database.connect_options()).await.unwrap()).await;
    assert!((0..3).all(|coil| rack.is_on(coil)), "every board has power");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_random_walk_history_replays_to_the_stored_boards() {
    for seed in 1..=3 {
        walk(seed).await;
    }
}
