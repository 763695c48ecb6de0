//! A session's sound, from the log, as a WAV file that players can jump about in.
use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::stream;
use rechka_log::{Log, LogError, Offset, TopicPartition};
use rechka_types::{headers, topics};

use super::{Problem, export::file_name, wav};
use crate::{
    gateway::Shared,
    reading::{Library, header_number, scan},
};

/// Samples read at once, in bytes.
const PAGE_BYTES: u64 = 256 * 1024;

/// The sound of a session so far; `Range` of one range is understood.
pub(crate) async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(session): Path<String>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let stored = shared
        .catalog
        .stored(&session)
        .ok_or_else(|| Problem::no_session(&session))?;
    let Some(format) = stored.record.as_ref().map(|record| record.format) else {
        return Err(Problem::not_found(
            "the audio of this session did not come through this gateway",
        ));
    };
    let frame_bytes = format.frame_bytes() as u64;
    let data_bytes = stored.frames * frame_bytes;
    let head = wav::header(format, data_bytes);
    let total = head.len() as u64 + data_bytes;
    let asked = request.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = match asked.map_or(Asked::All, |range| parse_range(range, total)) {
        Asked::All => None,
        Asked::Part(range) => Some(range),
        Asked::Nothing => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(
                header::CONTENT_RANGE,
                format!("bytes */{total}").parse().map_err(invalid)?,
            );
            return Ok(response);
        }
    };
    let bytes = range.clone().unwrap_or(0..total);
    let header_end = head.len() as u64;
    let head = head[bytes.start.min(header_end) as usize..bytes.end.min(header_end) as usize].to_vec();
    let data = bytes.start.saturating_sub(header_end)..bytes.end.saturating_sub(header_end);
    let mark = stored.mark_before(data.start / frame_bytes);
    let pages = Pages {
        library: shared.library.clone(),
        partition: TopicPartition::new(topics::AUDIO, shared.catalog.partition(&session)),
        session: session.clone(),
        offset: mark.offset,
        bytes: data,
        frame_bytes,
        silence: wav::silence(format.encoding()),
    };
    let first = stream::iter((!head.is_empty()).then_some(Ok::<_, LogError>(head)));
    let rest = stream::try_unfold(pages, Pages::next);
    let name = file_name(&stored.summary, "wav");
    let mut response = Response::builder()
        .status(if range.is_some() {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        })
        .header(header::CONTENT_TYPE, "audio/wav")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_LENGTH, bytes.end - bytes.start)
        .header(header::CONTENT_DISPOSITION, format!("inline; filename=\"{name}\""));
    if range.is_some() {
        let content = format!("bytes {}-{}/{total}", bytes.start, bytes.end - 1);
        response = response.header(header::CONTENT_RANGE, content);
    }
    response
        .body(Body::from_stream(futures_util::StreamExt::chain(first, rest)))
        .map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "response", error.to_string())
}

/// Samples of a session that are still to be read.
struct Pages {
    library: Library,
    partition: TopicPartition,
    session: String,
    /// Where to read on in the log.
    offset: Offset,
    /// Which bytes of the session's samples.
    bytes: Range<u64>,
    frame_bytes: u64,
    /// What stands for audio that the log does not keep any more, so that times stay right.
    silence: u8,
}

impl Pages {
    async fn next(self) -> Result<Option<(Vec<u8>, Self)>, LogError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let library = self.library.clone();
        let (page, pages) = library.read(move |log| self.read(log)).await?;
        Ok(Some((page, pages)))
    }

    fn read(mut self, log: &dyn Log) -> Result<(Vec<u8>, Self), LogError> {
        let end = log.offsets(&self.partition)?.end;
        let until = self.bytes.end.min(self.bytes.start + PAGE_BYTES);
        let mut page = Vec::with_capacity((until - self.bytes.start) as usize);
        let partition = self.partition.clone();
        scan(log, &partition, self.offset..end, |offset, record| {
            let frame = header_number(&record, headers::FRAME);
            if record.key == Some(self.session.as_bytes())
                && let Some(start) = frame.and_then(|frame| frame.checked_mul(self.frame_bytes))
            {
                let at = self.bytes.start + page.len() as u64;
                let missing = start.min(until).saturating_sub(at);
                page.resize(page.len() + missing as usize, self.silence);
                let at = at + missing;
                let piece = at.saturating_sub(start).min(record.value.len() as u64) as usize;
                let room = (until - at) as usize;
                let value = &record.value[piece..];
                page.extend_from_slice(&value[..value.len().min(room)]);
                if self.bytes.start + page.len() as u64 == until {
                    self.offset = offset;
                    return false;
                }
            }
            true
        })?;
        page.resize((until - self.bytes.start) as usize, self.silence);
        self.bytes.start = until;
        Ok((page, self))
    }
}

#[derive(Debug, PartialEq)]
enum Asked {
    All,
    Part(Range<u64>),
    Nothing,
}

/// RFC 9110, section 14.1.2. Several ranges at once are answered with everything, as one may.
fn parse_range(text: &str, total: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::All;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(total),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..total,
        (Err(_), Ok(length)) if first.trim().is_empty() => total.saturating_sub(length)..total,
        _ => return Asked::All,
    };
    if range.is_empty() {
        Asked::Nothing
    } else {
        Asked::Part(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        assert_eq!(parse_range("bytes=0-", 100), Asked::Part(0..100));
        assert_eq!(parse_range("bytes=10-19", 100), Asked::Part(10..20));
        assert_eq!(parse_range("bytes=90-200", 100), Asked::Part(90..100));
        assert_eq!(parse_range("bytes=-7", 100), Asked::Part(93..100));
        assert_eq!(parse_range("bytes=100-", 100), Asked::Nothing);
        assert_eq!(parse_range("bytes=-0", 100), Asked::Nothing);
        for all in [
            "",
            "bytes",
            "bytes=5-2",
            "bytes=-",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "seconds=0-1",
        ] {
            assert_eq!(parse_range(all, 100), Asked::All, "{all}");
        }
    }
}
