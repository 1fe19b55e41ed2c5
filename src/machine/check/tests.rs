use super::load;

const ACTIONS: [&str; 4] = ["clear-pxe", "set-pxe", "power-cycle", "poll"];

#[test]
fn board_loads() {
    let text = include_str!("../../../states/board.yaml");
    if let Err(faults) = load(text, &ACTIONS) {
        panic!("{}", faults.display("states/board.yaml"));
    }
    for (mutation, _) in [("target: Redy", 1)] {
        let text = text
            .replace("target: Ready", mutation)
            .replace("60s", "60")
            .replace("has(data.is_running)", "has(dat.is_running) ||")
            .replace("\"!(args.image in device.images)\"", "\"args.image in device.imges\"");
        println!("{}", load(&text, &ACTIONS).unwrap_err().display("states/board.yaml"));
    }
}
