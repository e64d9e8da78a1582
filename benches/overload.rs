//! What becomes of five times more requests than the gateway can serve.
//!
//! `cargo bench --bench overload`. The gateway has one processor, the load and the upstream the other. All requests come on
//! a thousand connections or some, on the one that has rested longest. First, as many requests as the gateway answers where a few
//! at a time are under way: its capacity. Then five times as many per second, sent when they are due whatever became of those before (an open loop); then half of the capacity, to see
//! that all is well again. Each request is due at a moment, and its answer's time counts from there. Nobody heeds
//! `Retry-After`: a refusal is counted as `again` where the same connection was refused with its last request, too.
//!
//! A case is what a request costs: `proven` sends one token that is known, the others a new token with each request (a
//! token that was refused as `overloaded` was not looked at, and is sent again).

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark fails by panicking and reports on standard output"
)]

#[allow(dead_code, reason = "each benchmark uses its own part")]
mod harness;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use harness::mint::{Family, Key};
use harness::{Server, at, configure, read_answer, token};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::sleep;

/// Requests under way while the capacity is measured.
const AT_ONCE: usize = 32;
const CAPACITY_SPAN: Duration = Duration::from_secs(5);
const OVERLOAD_SPAN: Duration = Duration::from_secs(20);
const RECOVERY_SPAN: Duration = Duration::from_secs(5);
const TIMES: f64 = 5.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [_, "upstream"] => harness::upstream(),
        [_, "gateway", config] => harness::gateway(Path::new(config)),
        _ => measure(),
    }
}

fn measure() {
    harness::stay_on(0);
    let directory = tempfile::tempdir().unwrap();
    let upstream = Server::start(&["upstream"]);
    println!(
        "\n| case | connections | capacity/s (of a CPU, us each) | sent/s | served/s (of capacity) | 503/s (us each) | 503 p50, p99 ms \
         | 503 again | 200 p50, p99 ms | RSS MiB before, most | 503 in 5 s after |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, key, tokens_per_second, connections) in [
        ("ES512, each new", Key::new(Family::P521, "p521"), 3000, 1000),
        ("ES256, each new", Key::p256("p256"), 12_000, 1000),
        ("ES256, each new", Key::p256("p256"), 12_000, 4000),
        ("proven", Key::p256("p256"), 0, 4000),
    ] {
        let config = configure(directory.path(), upstream.address, &[key], 1);
        let server = Server::start_on(1, &["gateway", config.to_str().unwrap()]);
        let count = tokens_per_second * (CAPACITY_SPAN + OVERLOAD_SPAN + RECOVERY_SPAN).as_secs();
        let tokens =
            Tokens(Rc::new(RefCell::new((0..count.max(1)).map(|number| token(key, number)).collect())), count > 0);
        Builder::new_current_thread().enable_all().build().unwrap().block_on(LocalSet::new().run_until(async {
            let mut crowd = Crowd::gather(connections, server.address, &tokens).await;
            let capacity = crowd.capacity(&server).await;
            let fresh = server.resident_kib();
            let overload = crowd.offer(capacity.per_second * TIMES, OVERLOAD_SPAN, &server).await;
            let after = crowd.offer(capacity.per_second * 0.5, RECOVERY_SPAN, &server).await;
            let rate = |latencies: &[Duration]| latencies.len() as f64 / OVERLOAD_SPAN.as_secs_f64();
            let again = overload.again.len() as f64 / OVERLOAD_SPAN.as_secs_f64();
            let (served, refused) = (rate(&overload.served), rate(&overload.refused) + again);
            println!(
                "| {name} | {connections} | {:.0} ({:.0} %, {:.0}) | {:.0} | {served:.0} ({:.0} %) | {refused:.0} ({:.1}) | {} | {again:.0}: {} | {} | {:.1}, {:.1} | {} |",
                capacity.per_second,
                capacity.busy * 100.0,
                capacity.cpu_us,
                served + refused,
                served / capacity.per_second * 100.0,
                (overload.busy * 1e6 - served * capacity.cpu_us) / refused,
                times(&overload.refused),
                times(&overload.again),
                times(&overload.served),
                fresh as f64 / 1024.0,
                overload.most_kib as f64 / 1024.0,
                after.refused.len() + after.again.len(),
            );
        }));
    }
}

/// The median and the 99th percentile, in milliseconds.
fn times(latencies: &[Duration]) -> String {
    let ms = |share| at(latencies, share).as_secs_f64() * 1e3;
    if latencies.is_empty() { "none".to_owned() } else { format!("{:.0}, {:.0}", ms(0.5), ms(0.99)) }
}

/// The tokens that are still to be sent, and whether each is for one request only.
#[derive(Clone)]
struct Tokens(Rc<RefCell<Vec<String>>>, bool);

impl Tokens {
    fn take(&self) -> String {
        let mut tokens = self.0.borrow_mut();
        if self.1 { tokens.pop().unwrap() } else { tokens[0].clone() }
    }

    fn give_back(&self, token: String) {
        if self.1 {
            self.0.borrow_mut().push(token);
        }
    }
}

/// Asks once; whether it was served. Anything but 200 and 503 is a failure.
async fn ask(stream: &mut TcpStream, buffer: &mut Vec<u8>, tokens: &Tokens) -> bool {
    let token = tokens.take();
    let request = format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    match read_answer(stream, buffer).await.unwrap() {
        200 => true,
        503 => {
            tokens.give_back(token);
            false
        }
        status => panic!("{status}"),
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// What the gateway can do.
struct Capacity {
    per_second: f64,
    /// Which part of a processor it had.
    busy: f64,
    /// Processor time of one request.
    cpu_us: f64,
}

/// What became of the requests of one phase, each sorted.
#[derive(Default)]
struct Answers {
    served: Vec<Duration>,
    refused: Vec<Duration>,
    again: Vec<Duration>,
    most_kib: u64,
    busy: f64,
}

/// Connections that ask when they are told to.
struct Crowd {
    clients: Vec<mpsc::UnboundedSender<Instant>>,
    /// Who has nothing to do: who has rested longest is asked first.
    idle: Rc<RefCell<VecDeque<usize>>>,
    rested: Rc<Notify>,
    answers: Rc<RefCell<Answers>>,
}

impl Crowd {
    async fn gather(connections: usize, address: SocketAddr, tokens: &Tokens) -> Self {
        let (idle, answers) = (Rc::new(RefCell::new(VecDeque::new())), Rc::<RefCell<Answers>>::default());
        let rested = Rc::new(Notify::new());
        let mut clients = Vec::new();
        for number in 0..connections {
            let (mut stream, mut buffer, mut was_refused) = (connect(address).await, Vec::new(), false);
            let (sender, mut dues) = mpsc::unbounded_channel::<Instant>();
            clients.push(sender);
            idle.borrow_mut().push_back(number);
            let (idle, answers, tokens) = (Rc::clone(&idle), Rc::clone(&answers), tokens.clone());
            let rested = Rc::clone(&rested);
            tokio::task::spawn_local(async move {
                while let Some(due) = dues.recv().await {
                    let served = ask(&mut stream, &mut buffer, &tokens).await;
                    let Answers { served: all_served, refused, again, .. } = &mut *answers.borrow_mut();
                    let kind = match (served, was_refused) {
                        (true, _) => all_served,
                        (false, false) => refused,
                        (false, true) => again,
                    };
                    kind.push(due.elapsed());
                    was_refused = !served;
                    idle.borrow_mut().push_back(number);
                    rested.notify_one();
                }
            });
        }
        Self { clients, idle, rested, answers }
    }

    /// Keeps so many requests under way that the gateway is never idle, and has none waiting long.
    async fn capacity(&mut self, server: &Server) -> Capacity {
        let (begun, before) = (Instant::now(), server.processor_seconds());
        while begun.elapsed() < CAPACITY_SPAN {
            while self.idle.borrow().len() > self.clients.len() - AT_ONCE {
                let client = self.idle.borrow_mut().pop_front().unwrap();
                self.clients[client].send(Instant::now()).unwrap();
            }
            self.rested.notified().await;
        }
        self.rest().await;
        let (seconds, answers) = (begun.elapsed().as_secs_f64(), self.answers.take());
        assert!(answers.refused.is_empty(), "overloaded by a few at a time");
        let (count, busy) = (answers.served.len() as f64, server.processor_seconds() - before);
        Capacity { per_second: count / seconds, busy: busy / seconds, cpu_us: busy * 1e6 / count }
    }

    /// Waits until nobody has anything to do.
    async fn rest(&self) {
        while self.idle.borrow().len() < self.clients.len() {
            self.rested.notified().await;
        }
    }

    /// Asks so often per second, as far as there are connections to ask on.
    async fn offer(&mut self, per_second: f64, span: Duration, server: &Server) -> Answers {
        self.answers.take();
        let (begun, mut due, mut most_kib, mut looked) = (Instant::now(), 0_u64, 0, Instant::now());
        let before = server.processor_seconds();
        while begun.elapsed() < span {
            let now_due = (begun.elapsed().as_secs_f64() * per_second) as u64;
            for number in due..now_due {
                let Some(client) = self.idle.borrow_mut().pop_front() else { break };
                let at = begun + Duration::from_secs_f64(number as f64 / per_second);
                self.clients[client].send(at).unwrap();
            }
            due = now_due;
            if looked.elapsed() > Duration::from_millis(500) {
                (most_kib, looked) = (most_kib.max(server.resident_kib()), Instant::now());
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.rest().await;
        let mut answers = self.answers.take();
        for kind in [&mut answers.served, &mut answers.refused, &mut answers.again] {
            kind.sort_unstable();
        }
        let busy = (server.processor_seconds() - before) / begun.elapsed().as_secs_f64();
        Answers { most_kib, busy, ..answers }
    }
}
