"""Score millions of images or videos to Parquet, on one machine or many: ``ferlib score photos --output scores``."""

from collections.abc import Sequence

from ferlib.core.console import EXIT_FAILED, EXIT_OK, logger, run, write_line
from ferlib.core.options import OptionParser
from ferlib.core.words import counted
from ferlib.scoring.options import ScoreOptions

EXAMPLES = """examples:
  ferlib score photos --output scores
  ferlib score list.csv --path-column file --output scores --workers 16
  ferlib score s3://bucket/photos --output s3://bucket/scores --engine ray --address auto
  ferlib score clips --videos --output tracks --every 0.5

The output is a folder of Parquet files with one row per image; its faces are a nested column. A file that cannot be
read has a row with an error; the exit status is 0 unless all of them have one.

Repeat the command after a crash or Ctrl+C: finished parts are kept, and each image has exactly one row at the end. The
engine and the number of workers may differ. Needs pip install 'ferlib[scale]'.
The emotion is what a face appears to express to an observer, not what the person feels.
"""


def build_parser() -> OptionParser:
    """Return the command's parser."""
    return OptionParser(
        "score",
        (ScoreOptions,),
        description="Score millions of images or videos to partitioned Parquet, on one machine or on a Ray cluster.",
        examples=EXAMPLES,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Plan the job, score what has not been scored, and report; return the exit status."""
    options = build_parser().parse(argv).build(ScoreOptions)
    # Importing it takes time, which --help and wrong options need not wait for.
    from ferlib.scoring.job import ScoringJob

    job = ScoringJob(options)
    try:
        job.run()
    except KeyboardInterrupt:
        logger.info("stopped; the same command goes on from here")
        raise
    done = job.done
    found = counted(done.found, "track" if options.videos else "face")
    write_line(f"{counted(done.files, job.noun)}, {found}, {counted(done.errors, 'error')}")
    logger.info("%s has the rows of %s", options.output, counted(job.n_files, job.noun))
    return EXIT_FAILED if done.files and done.errors == done.files else EXIT_OK


if __name__ == "__main__":
    run(main)
