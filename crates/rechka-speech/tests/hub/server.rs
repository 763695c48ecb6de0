//! A server that speaks as much of the hub's API as a download needs.
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [&str; 4] = ["README.md", "config.json", "tokenizer.json", "model.safetensors"];

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

#[derive(Clone, Default)]
struct Behaviour {
    token: Option<String>,
    break_after: Option<usize>,
    no_ranges: bool,
    elsewhere: Option<String>,
    etag: Option<String>,
}

struct State {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

/// Serves until it is dropped.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

/// 250 kB that don't repeat.
pub fn weights() -> Vec<u8> {
    (0..62_500u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// Large files are tagged with their SHA-256.
pub fn weights_etag() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &weights());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Server {
    pub fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            behaviour: Mutex::default(),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if served.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is no failure of the server.
                let _ = serve(connection.unwrap(), &served);
            }
        });
        Server { address, state }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    fn behaving(self, change: impl FnOnce(&mut Behaviour)) -> Server {
        change(&mut self.state.behaviour.lock().unwrap());
        self
    }

    pub fn gated(self, token: &str) -> Server {
        self.behaving(|behaviour| behaviour.token = Some(token.to_owned()))
    }

    /// Every answer with a longer body breaks off after so many bytes.
    pub fn breaking_bodies_after(self, bytes: usize) -> Server {
        self.behaving(|behaviour| behaviour.break_after = Some(bytes))
    }

    pub fn without_ranges(self) -> Server {
        self.behaving(|behaviour| behaviour.no_ranges = true)
    }

    pub fn with_large_files_at(self, other: &Server) -> Server {
        self.behaving(|behaviour| behaviour.elsewhere = Some(other.address()))
    }

    pub fn with_etag(self, etag: &str) -> Server {
        self.behaving(|behaviour| behaviour.etag = Some(etag.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, which then closes.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let request = read_request(&mut reader)?;
    state.requests.lock().unwrap().push(request.clone());
    let behaviour = state.behaviour.lock().unwrap().clone();
    let allowed = behaviour
        .token
        .as_ref()
        .is_none_or(|token| request.authorization == Some(format!("Bearer {token}")));
    if !allowed {
        return answer(
            &mut stream,
            "401 Unauthorized",
            "X-Error-Code: GatedRepo\r\n",
            b"",
            &request,
        );
    }
    if request.path == "/api/models/someone/whisper-test/revision/main" {
        let siblings: Vec<String> = FILES
            .iter()
            .map(|file| format!("{{\"rfilename\":\"{file}\"}}"))
            .collect();
        let body = format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}", siblings.join(","));
        return answer(&mut stream, "200 OK", "", body.as_bytes(), &request);
    }
    match request
        .path
        .strip_prefix(&format!("/someone/whisper-test/resolve/{COMMIT}/"))
    {
        Some(file) if FILES.contains(&file) => serve_file(&mut stream, file, &request, &behaviour),
        _ => answer(&mut stream, "404 Not Found", "", b"", &request),
    }
}

fn serve_file(stream: &mut TcpStream, file: &str, request: &Request, behaviour: &Behaviour) -> std::io::Result<()> {
    let (body, etag) = match file {
        "model.safetensors" => (weights(), weights_etag()),
        _ => (b"{\"a\": 1}".to_vec(), "5f1b".to_owned()),
    };
    let etag = behaviour.etag.clone().unwrap_or(etag);
    let mut headers = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\n");
    if let (Some(elsewhere), "model.safetensors") = (&behaviour.elsewhere, file) {
        let linked = format!("X-Linked-ETag: \"{etag}\"\r\nX-Linked-Size: {}\r\n", body.len());
        let location = format!("Location: {elsewhere}{}\r\n", request.path);
        headers = format!("{linked}{location}X-Repo-Commit: {COMMIT}\r\n");
        return answer(stream, "302 Found", &headers, b"moved", request);
    }
    let start = request.range.as_ref().filter(|_| !behaviour.no_ranges);
    let start = start.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let status = if start.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    if let Some(start) = start {
        headers += &format!("Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
    }
    let body = &body[start.unwrap_or(0)..];
    match behaviour
        .break_after
        .filter(|&bytes| bytes < body.len() && request.method == "GET")
    {
        Some(bytes) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
            )?;
            stream.write_all(&body[..bytes])
        }
        None => answer(stream, status, &headers, body, request),
    }
}

fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8], request: &Request) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    stream.write_all(if request.method == "HEAD" { b"" } else { body })
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut parts = line.split_whitespace().map(str::to_owned);
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut request = Request {
        method,
        path,
        range: None,
        authorization: None,
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            return Ok(request);
        };
        match name.to_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
}
