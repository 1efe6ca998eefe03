"""Requests made up from the OpenAPI description: nothing but documented answers, and the server lives."""

import pytest
from live_server import LiveServer

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis (pip install schemathesis)")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402

EXAMPLES = 40


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/see", "/v1/features", "/healthz", "/metrics"])
def test_made_up_requests_get_documented_answers(server: LiveServer, path: str) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    method = "post" if path.startswith("/v1") else "get"
    operation = schema[path][method.upper()]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def fuzz(case) -> None:
        response = case.call(base_url=server.url, timeout=20)
        case.validate_response(response, checks=[schemathesis.checks.not_a_server_error])
        documented = {int(code) for code in operation.definition.raw["responses"]}
        assert response.status_code in documented, (response.status_code, response.text)

    fuzz()
