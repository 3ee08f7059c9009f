import pytest

from openenv.errors import NotAvailableError
from openenv.launch import ContainerProvider, DockerSwarmProvider, KubernetesProvider


@pytest.mark.parametrize("provider", [DockerSwarmProvider, KubernetesProvider])
def test_names_that_are_not_there_yet_say_so(provider):
    assert issubclass(provider, ContainerProvider)
    with pytest.raises(
        NotAvailableError, match=f"{provider.__name__} is not part of this version.*LocalDocker"
    ):
        provider()
