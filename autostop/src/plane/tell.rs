//! The last words to a client that waited in vain: the truth where its protocol has words for it, else a
//! reset.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

use super::{plan::Preset, tcp};
use crate::hold::{Notice, mysql, postgres, ssh};

/// How long a client may take to hear it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How much of a PostgreSQL client's opening is looked at.
const OPENING: usize = 10_000;

/// Tells the client, and ends the connection.
pub(super) async fn tell(mut client: TcpStream, preset: Preset, held: &mut Vec<u8>, notice: &Notice) {
    let words = match preset {
        Preset::Ssh => Some(ssh::line(notice)),
        Preset::Mysql => Some(mysql::error(notice)),
        Preset::Postgres => {
            let heard = time::timeout(LAST_WORDS, hear_opening(&mut client, held)).await;
            matches!(heard, Ok(Some(()))).then(|| postgres::error(notice))
        }
        Preset::Tcp | Preset::Rdp => None,
    };
    let Some(words) = words else { return tcp::reset(&client) };
    // A client that does not listen has left.
    time::timeout(LAST_WORDS, last_words(&mut client, &words)).await.ok();
}

async fn last_words(client: &mut TcpStream, words: &[u8]) {
    if client.write_all(words).await.is_err() || client.shutdown().await.is_err() {
        return;
    }
    // With unread bytes a close would be a reset, and take the words with it.
    let mut rest = [0; 256];
    while let Ok(1..) = client.read(&mut rest).await {}
}

/// Goes through the opening of a PostgreSQL client until it can be told.
async fn hear_opening(client: &mut TcpStream, held: &mut Vec<u8>) -> Option<()> {
    loop {
        match postgres::answer(held) {
            postgres::Answer::Error => return Some(()),
            postgres::Answer::Nothing => return None,
            postgres::Answer::NoEncryption(length) => {
                client.write_all(b"N").await.ok()?;
                held.drain(..length.min(held.len()));
            }
            postgres::Answer::Unknown if held.len() > OPENING => return None,
            postgres::Answer::Unknown => {
                let mut more = [0; 64];
                match client.read(&mut more).await {
                    Ok(read @ 1..) => held.extend_from_slice(more.get(..read).unwrap_or_default()),
                    _ => return None,
                }
            }
        }
    }
}
