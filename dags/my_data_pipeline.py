"""Extract, transform, load: values travel from task to task as XComs."""

from airflow.sdk import dag, task


@dag(schedule=None, tags=["example"])
def my_data_pipeline():
    @task(retries=2)
    def extract() -> list[int]:
        return [1, 2, 3, 4, 5]

    @task
    def transform(values: list[int]) -> dict[str, int]:
        return {"count": len(values), "total": sum(values)}

    @task
    def load(summary: dict[str, int]) -> str:
        line = f"loaded {summary['count']} values, total {summary['total']}"
        print(line)
        return line

    load(transform(extract()))


my_data_pipeline()
