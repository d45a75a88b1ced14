//! Descriptions that nobody should send: nothing panics, and what is accepted is answered well-formed.

use proptest::prelude::*;

use super::super::lines;
use super::*;

/// What must hold for any text.
fn check(text: &str) -> Result<(), TestCaseError> {
    let offer = match parse_offer(text) {
        Ok(offer) => offer,
        Err(error) => {
            prop_assert!(error.message.len() < 400);
            return Ok(());
        }
    };
    for plan in [accept_all(&offer), vec![SectionPlan::Inactive; offer.sections.len()], Vec::new()]
    {
        let answer = write_answer(&offer, &local(), &plan);
        let blocks = lines::split(&answer).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(blocks.media.len(), offer.sections.len());
        let alive: Vec<&str> = blocks
            .media
            .iter()
            .filter(|block| block.media.split(' ').nth(1) != Some("0"))
            .filter_map(|block| block.all("mid").next().map(|mid| mid.value))
            .collect();
        let group = blocks.session.all("group").next();
        let group: Vec<&str> =
            group.map(|g| g.value.split(' ').skip(1).collect()).unwrap_or_default();
        if !offer.bundle.is_empty() {
            prop_assert_eq!(alive, group);
        }
        for candidate in blocks.media.iter().flat_map(|block| block.all("candidate")) {
            let parsed = parse_candidate(&format!("candidate:{}", candidate.value));
            prop_assert!(parsed.is_ok(), "{:?}", parsed);
        }
    }
    Ok(())
}

fn mutate(text: &str, edits: &[(u8, prop::sample::Index, prop::sample::Index)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (kind, first, second) in edits {
        if lines.is_empty() {
            break;
        }
        let (a, b) = (first.index(lines.len()), second.index(lines.len()));
        match kind % 6 {
            0 => drop(lines.remove(a)),
            1 => lines.insert(a, lines[b].clone()),
            2 => lines.swap(a, b),
            3 => {
                let end = second.index(lines[a].len() + 1);
                lines[a].truncate(end);
            }
            4 => {
                let mut bytes = std::mem::take(&mut lines[a]).into_bytes();
                if !bytes.is_empty() {
                    let at = second.index(bytes.len());
                    bytes[at] = b"0 :;/=~\t9-,"[at % 11];
                }
                lines[a] = String::from_utf8_lossy(&bytes).into_owned();
            }
            _ => {
                // The head of one line with the tail of another.
                let tail = lines[b].split_once(':').map_or("", |(_, tail)| tail).to_owned();
                let head = lines[a].split_once(':').map_or("a=x", |(head, _)| head).to_owned();
                lines[a] = format!("{head}:{tail}");
            }
        }
    }
    lines.join("\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_captures(
        which in 0..CAPTURED.len(),
        edits in prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index)>(), 1..5),
    ) {
        check(&mutate(CAPTURED[which].1, &edits))?;
    }

    #[test]
    fn mutated_small_offers(
        edits in prop::collection::vec(any::<(u8, prop::sample::Index, prop::sample::Index)>(), 1..4),
    ) {
        check(&mutate(SMALL, &edits))?;
    }

    #[test]
    fn arbitrary_lines(
        lines in prop::collection::vec(
            "(a=(mid|rid|ssrc|ssrc-group|rtpmap|fmtp|rtcp-fb|extmap|candidate|simulcast|fingerprint|group|msid|setup)|m=(audio|video|application)):?[ -~]{0,24}",
            0..24,
        ),
    ) {
        check(&format!("{SMALL}{}", lines.join("\n")))?;
        check(&format!("v=0\n{}", lines.join("\n")))?;
    }

    #[test]
    fn arbitrary_text(text in any::<String>()) {
        check(&text)?;
        let _ = parse_candidate(&text);
        let _ = parse_candidate(&format!("candidate:{text}"));
    }
}
