//! `cargo xtask …`: what a developer and the CI do with this workspace.
//!
//! `check` looks at the code without running it, `test` runs everything against real servers, `rig` starts and stops those
//! servers, `demo` shows the product, `bench` compares it with its peers. Nothing here is part of the product.

mod bench;
mod check;
mod demo;
mod interrupt;
mod leftovers;
mod rig;
mod test;
mod workspace;

use anyhow::{Result, bail};

const USAGE: &str = "cargo xtask COMMAND

  check                 format, lints, crate arrows, file sizes, documents
  test [--kills N] [--nightly] [--no-check] [-- ARGS]
                        check, then every test against real servers on free ports (--kills 500: the long kill test;
                        --nightly: 100,000 seeds of the adversary suite in memory, 200 on real systems)
  rig start|stop [FAMILY…]
                        the real servers on fixed ports, for development (data in .rig)
  demo [--keep]         a site and its database move, are verified, and move back
  bench [CASE…] [--runs N] [--no-build]
                        our speed beside rclone, s5cmd, rsync, mariadb-dump and pg_dump, and our API's
                        beside FastAPI, Flask and Django REST";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    interrupt::listen();
    if let Err(error) = dispatch(&args) {
        eprintln!("xtask: {error:#}");
        std::process::exit(if interrupt::asked() { 130 } else { 1 });
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    match args.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        Some(("check", [])) => check::run(),
        Some(("test", rest)) => test::run(rest),
        Some(("rig", rest)) => rig::develop(rest),
        Some(("bench", rest)) => bench::run(rest),
        Some(("demo", rest)) => demo::run(rest),
        Some(("help" | "--help" | "-h", _)) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command\n\n{USAGE}"),
    }
}
