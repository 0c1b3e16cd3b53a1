//! A connection with a Redis. The commands and values are those of the crate `redis`; the bytes are read here, since an answer must be bounded
//! in time, length and depth whoever gives it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use ::redis::{ConnectionLike, ErrorKind, Pipeline, RedisError, RedisResult, Value, cmd, parse_redis_value};

use super::server::Server;
use super::wire::{Patience, Steady, Wire};

/// Longest answer to what is sent together, in bytes, and most values in it.
const MOST_BYTES: usize = 4 << 20;
const MOST_VALUES: usize = 128 << 10;
/// How deep lists may lie in lists.
const DEEPEST: u8 = 8;
/// Longest line: numbers, states and errors.
const LONGEST_LINE: u64 = 4096;

/// A connection that is in. After an error other than the server's own words it is of no use any more.
pub struct Link {
    reader: BufReader<Wire>,
    patience: Patience,
    database: u32,
    usable: bool,
}

/// How much an answer may still have.
struct Room {
    bytes: usize,
    values: usize,
}

impl Link {
    /// Connects, says who we are, and chooses the database.
    ///
    /// # Errors
    /// When there is no connection, or Redis does not let us in.
    pub fn open(server: &Server, patience: Patience, clock: Steady) -> RedisResult<Self> {
        let reader = BufReader::new(Wire::open(&server.place, patience, clock)?);
        let mut link = Self { reader, patience, database: server.database, usable: true };
        if let Some(password) = &server.password {
            let mut auth = cmd("AUTH");
            if let Some(username) = &server.username {
                auth.arg(username);
            }
            // What a server does not know it may repeat, the password with it.
            auth.arg(password).exec(&mut link).map_err(|error| match error.is_io_error() {
                true => error,
                false => (ErrorKind::AuthenticationFailed, "the user and the password are not taken").into(),
            })?;
        }
        if server.database != 0 {
            cmd("SELECT").arg(server.database).exec(&mut link)?;
        }
        Ok(link)
    }

    /// Sends commands together, and gives the answer to each; an error of the server is a value.
    ///
    /// # Errors
    /// When the answers do not all come in time, or are none.
    pub fn run(&mut self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let bytes = commands.get_packed_pipeline();
        self.exchange(&bytes, commands.len())
    }

    fn exchange(&mut self, bytes: &[u8], answers: usize) -> RedisResult<Vec<Value>> {
        if !self.usable {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        // Whatever ends this early leaves answers that belong to nothing.
        self.usable = false;
        let wire = self.reader.get_mut();
        wire.within(self.patience.answer);
        wire.write_all(bytes)?;
        wire.flush()?;
        let mut room = Room { bytes: MOST_BYTES, values: MOST_VALUES };
        let values =
            (0..answers).map(|_| value(&mut self.reader, &mut room, 0)).collect::<RedisResult<_>>()?;
        self.usable = true;
        Ok(values)
    }

    /// Listens to channels; from then on only [`next`](Self::next) is of use.
    ///
    /// # Errors
    /// When Redis does not let us.
    pub fn subscribe(&mut self, channels: &[&str]) -> RedisResult<()> {
        let mut subscribe = cmd("SUBSCRIBE");
        subscribe.arg(channels);
        for answer in self.exchange(&subscribe.get_packed_command(), channels.len())? {
            answer.extract_error()?;
        }
        Ok(())
    }

    /// What was told next, with its channel; none if nothing is within this time. What is no message is passed over.
    ///
    /// # Errors
    /// When the connection is over, or what came is no message of Redis.
    pub fn next(&mut self, wait: Duration) -> RedisResult<Option<(String, Vec<u8>)>> {
        self.reader.get_mut().within(wait);
        if self.reader.buffer().is_empty() {
            match self.reader.fill_buf() {
                Ok([]) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(_) => {}
                Err(error) if is_over(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        self.reader.get_mut().within(self.patience.answer);
        let mut room = Room { bytes: MOST_BYTES, values: MOST_VALUES };
        let told = value(&mut self.reader, &mut room, 0)?;
        let told = told.extract_error()?;
        let Value::Array(parts) = told else { return Ok(None) };
        Ok(match <[Value; 3]>::try_from(parts) {
            Ok([Value::BulkString(kind), Value::BulkString(channel), Value::BulkString(text)])
                if kind == b"message" =>
            {
                String::from_utf8(channel).ok().map(|channel| (channel, text))
            }
            _ => None,
        })
    }

    /// Whether it can still be used.
    pub const fn is_usable(&self) -> bool {
        self.usable
    }
}

/// For the crate's own calls: `cmd("HGETALL").arg(key).query(&mut link)`.
impl ConnectionLike for Link {
    fn req_packed_command(&mut self, bytes: &[u8]) -> RedisResult<Value> {
        let answer = self.exchange(bytes, 1)?.pop().unwrap_or(Value::Nil);
        answer.extract_error()
    }

    fn req_packed_commands(&mut self, bytes: &[u8], offset: usize, count: usize) -> RedisResult<Vec<Value>> {
        let mut answers = self.exchange(bytes, offset.saturating_add(count))?;
        Ok(answers.split_off(offset.min(answers.len())))
    }

    fn get_db(&self) -> i64 {
        self.database.into()
    }

    fn check_connection(&mut self) -> bool {
        cmd("PING").exec(self).is_ok()
    }

    fn is_open(&self) -> bool {
        self.usable
    }
}

/// Whether an error means that the time is over.
fn is_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn nonsense(what: &'static str) -> RedisError {
    (ErrorKind::Parse, what).into()
}

/// One value of RESP 2.
fn value(reader: &mut impl BufRead, room: &mut Room, depth: u8) -> RedisResult<Value> {
    if room.values == 0 || depth > DEEPEST {
        return Err(nonsense("an answer has too much in it"));
    }
    room.values -= 1;
    let line = line(reader, room)?;
    let (kind, rest) = line.split_first().ok_or_else(|| nonsense("an answer has an empty line"))?;
    let number = || -> RedisResult<i64> {
        let text = std::str::from_utf8(rest).ok();
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| nonsense("an answer has no number where one belongs"))
    };
    Ok(match kind {
        b'+' if rest == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(String::from_utf8_lossy(rest).into_owned()),
        b':' => Value::Int(number()?),
        // The crate alone can make one.
        b'-' => parse_redis_value(&[line.as_slice(), b"\r\n"].concat())?,
        b'$' => match usize::try_from(number()?) {
            Err(_) => Value::Nil,
            Ok(length) => Value::BulkString(bulk(reader, room, length)?),
        },
        b'*' => match usize::try_from(number()?) {
            Err(_) => Value::Nil,
            Ok(length) if length > room.values => return Err(nonsense("an answer has too much in it")),
            Ok(length) => {
                let items = (0..length).map(|_| value(reader, room, depth + 1));
                Value::Array(items.collect::<RedisResult<_>>()?)
            }
        },
        _ => return Err(nonsense("an answer is none of Redis")),
    })
}

/// A line without its end.
fn line(reader: &mut impl BufRead, room: &mut Room) -> RedisResult<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    room.take(read)?;
    let text = line.strip_suffix(b"\r\n").ok_or_else(|| nonsense("an answer has an endless line"))?;
    let length = text.len();
    line.truncate(length);
    Ok(line)
}

fn bulk(reader: &mut impl BufRead, room: &mut Room, length: usize) -> RedisResult<Vec<u8>> {
    room.take(length.saturating_add(2))?;
    // No more is kept ready than came.
    let mut bytes = Vec::with_capacity(length.min(LONGEST_LINE as usize));
    reader.take(length as u64).read_to_end(&mut bytes)?;
    let mut end = [0; 2];
    reader.read_exact(&mut end)?;
    if bytes.len() != length || end != *b"\r\n" {
        return Err(nonsense("an answer is not as long as it says"));
    }
    Ok(bytes)
}

impl Room {
    fn take(&mut self, bytes: usize) -> RedisResult<()> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| nonsense("an answer is too long"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> RedisResult<Value> {
        let mut room = Room { bytes: 1 << 16, values: 64 };
        value(&mut io::Cursor::new(bytes), &mut room, 0)
    }

    #[test]
    fn values_are_read() {
        assert_eq!(read(b"+OK\r\n"), Ok(Value::Okay));
        assert_eq!(read(b":-7\r\n"), Ok(Value::Int(-7)));
        assert_eq!(read(b"$-1\r\n"), Ok(Value::Nil));
        assert_eq!(read(b"$2\r\n\r\n\r\n"), Ok(Value::BulkString(b"\r\n".to_vec())));
        let list = Value::Array(vec![Value::Int(1), Value::Array(vec![]), Value::SimpleString("x".into())]);
        assert_eq!(read(b"*3\r\n:1\r\n*0\r\n+x\r\n"), Ok(list));
        let Ok(Value::ServerError(error)) = read(b"-OOM command not allowed\r\n") else { panic!("an error") };
        assert_eq!(error.code(), "OOM");
    }

    #[test]
    fn what_is_hostile_is_refused_before_it_is_kept() {
        let deep = b"*1\r\n".repeat(100);
        let endless = b"+".repeat(1 << 16);
        for bytes in [
            &b""[..],
            b"\r\n",
            b"+OK\n",
            b"?\r\n",
            b":x\r\n",
            b"$99999999999999\r\n",
            b"$5\r\nabc\r\n",
            b"*9223372036854775807\r\n",
            b"*65\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            &deep,
            &endless,
        ] {
            read(bytes).expect_err("refused");
        }
        let many = [&b"*63\r\n"[..], &b"*62\r\n:1\r\n".repeat(62)].concat();
        read(&many).expect_err("too many in all");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_at_all_do_harm(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..512)) {
            let _ = read(&bytes);
        }
    }
}
