//! Starts the server with a fixed token and prints how to reach it.
//!
//! `cargo run -p dpf-apiserver --example serve -- [--plain] [--port N] [--kubeconfig FILE] [--file DATABASE]`

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use dpf_apiserver::{ApiServer, Options, Tls, Token};

const TOKEN: &str = "embedded-admin";

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "printing the address is what this program is for"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut tls = Tls::SelfSigned;
    let mut port = 0;
    let mut kubeconfig = None;
    let mut file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--plain" => tls = Tls::Plain,
            "--port" => port = arguments.next().ok_or("--port needs a number")?.parse()?,
            "--kubeconfig" => kubeconfig = arguments.next(),
            "--file" => file = arguments.next(),
            other => {
                return Err(format!(
                    "unknown argument {other}: use --plain, --port N, --kubeconfig FILE, --file DATABASE"
                )
                .into());
            }
        }
    }
    let options = Options {
        tokens: vec![Token::admin(TOKEN)],
        anonymous: false,
        ..Options::default()
    };
    let server = match file {
        Some(file) => ApiServer::open(options, Path::new(&file))?,
        None => ApiServer::new(options),
    };
    let listening = server
        .listen(SocketAddr::from(([127, 0, 0, 1], port)), tls)
        .await?;
    match kubeconfig {
        Some(file) => std::fs::write(file, listening.kubeconfig(TOKEN))?,
        None => println!("{}", listening.kubeconfig(TOKEN)),
    }
    println!("{} {TOKEN}", listening.url());
    std::future::pending::<()>().await;
    Ok(())
}
