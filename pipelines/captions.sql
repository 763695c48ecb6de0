-- Live captions: what is said into the topic of audio becomes text, exactly once. `rechka demo` and `rechka serve` run this.
--
--   rechka run pipelines/captions.sql       then speak into the page: http://127.0.0.1:8080
--   rechka consume transcripts --follow

CREATE STREAM audio WITH (topic = 'audio-stream', format = 'audio', partitions = 4);

CREATE STREAM transcripts AS
  SELECT * FROM TRANSCRIBE(audio, model => 'digits');
