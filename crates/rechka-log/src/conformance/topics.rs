//! MUSTs 1 to 3.
use super::{Subject, append, at, batch, join, texts, topic, unique};
use crate::{Cleanup, Epoch, Event, LogError, TopicSpec};

/// MUST 1.
pub fn a_topic_is_created_once(subject: &mut dyn Subject) {
    let log = subject.log();
    let name = topic(subject, "once", 2);
    append(log, at(&name, 1), batch(["kept"]));
    let spec = TopicSpec::new(name.as_str(), 2);
    log.create_topic(&spec).unwrap();
    for other in [
        TopicSpec::new(name.as_str(), 3),
        TopicSpec {
            cleanup: Cleanup::Compact,
            ..spec.clone()
        },
    ] {
        let error = log.create_topic(&other).unwrap_err();
        assert!(matches!(error, LogError::TopicDiffers { .. }), "{error}");
    }
    assert_eq!(texts(log, &at(&name, 1)), ["kept"]);
    assert!(log.topics().unwrap().contains(&spec));
    for wrong in ["", "a b", "ä", &"x".repeat(250)] {
        let error = log.create_topic(&TopicSpec::new(wrong, 1)).unwrap_err();
        assert!(matches!(error, LogError::Invalid(_)), "{wrong:?}: {error}");
    }
    let error = log.create_topic(&TopicSpec::new(unique("none"), 0));
    assert!(matches!(error, Err(LogError::Invalid(_))));
}

/// MUST 2.
pub fn unknown_topics_and_partitions_are_errors(subject: &mut dyn Subject) {
    let log = subject.log();
    let (missing, present) = (unique("missing"), topic(subject, "present", 1));
    let parts = |to| {
        vec![crate::Append {
            to,
            batch: batch(["x"]),
        }]
    };
    let nowhere = at(&missing, 0);
    let errors = [
        log.delete_topic(&missing).err(),
        log.offsets(&nowhere).err(),
        log.offset_at(&nowhere, 0).err(),
        log.delete_before(&nowhere, 1).err(),
        log.append(parts(nowhere.clone())).err(),
        log.read(vec![(nowhere, 0)]).err(),
    ];
    for error in errors {
        assert!(
            matches!(&error, Some(LogError::UnknownTopic(t)) if *t == missing),
            "{error:?}"
        );
    }
    let beyond = at(&present, 1);
    let errors = [
        log.offsets(&beyond).err(),
        log.append(parts(beyond.clone())).err(),
        log.read(vec![(beyond, 0)]).err(),
    ];
    for error in errors {
        let unknown = matches!(&error, Some(LogError::UnknownPartition { partition: 1, .. }));
        assert!(unknown, "{error:?}");
    }
}

/// MUST 3.
pub fn a_deleted_topic_is_new_when_made_again(subject: &mut dyn Subject) {
    let log = subject.log();
    let (name, group) = (topic(subject, "deleted", 1), unique("group"));
    append(log, at(&name, 0), batch(["old", "older"]));
    let mut member = join(log, &group, &[&name]);
    super::eventually(subject, "the assignment", || {
        let event = member.poll(std::time::Duration::from_millis(20));
        matches!(event.unwrap(), Event::Batch(_))
    });
    let offsets = vec![(at(&name, 0), 2)];
    let epoch = Epoch {
        offsets,
        appends: Vec::new(),
    };
    member.commit(epoch).unwrap();
    drop(member);
    assert_eq!(log.committed(&group, &at(&name, 0)).unwrap(), Some(2));
    log.delete_topic(&name).unwrap();
    super::eventually(subject, "the deletion", || {
        log.topics().unwrap().iter().all(|topic| *topic.name != *name)
    });
    log.create_topic(&TopicSpec::new(name.as_str(), 1)).unwrap();
    super::eventually(subject, "the deletion of what groups committed", || {
        log.committed(&group, &at(&name, 0)).unwrap().is_none()
    });
    append(log, at(&name, 0), batch(["new"]));
    assert_eq!(texts(log, &at(&name, 0)), ["new"]);
}
