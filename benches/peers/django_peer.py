"""The measured endpoints with Django REST framework, behind gunicorn."""

import shared
from django.conf import settings

settings.configure(
    DEBUG=False, SECRET_KEY=shared.SECRET, ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, INSTALLED_APPS=["rest_framework"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [], "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"], "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "UNAUTHENTICATED_USER": None, "EXCEPTION_HANDLER": f"{__name__}.failed",
    },
)

import django  # noqa: E402

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.authentication import BaseAuthentication  # noqa: E402
from rest_framework.exceptions import AuthenticationFailed, NotFound  # noqa: E402
from rest_framework.permissions import BasePermission  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView, exception_handler  # noqa: E402


class Token(BaseAuthentication):
    def authenticate(self, request):
        try:
            return shared.caller(request.headers.get("Authorization"), request.headers.get("X-Tenant-ID")), None
        except shared.Refused as error:
            raise (AuthenticationFailed if error.status == 401 else NotFound)(error.code) from error

    def authenticate_header(self, request):
        return "Bearer"


class Known(BasePermission):
    def has_permission(self, request, view):
        return request.user is not None


def failed(error, context):
    return exception_handler(NotFound() if isinstance(error, shared.Missing) else error, context)


class Summary(serializers.Serializer):
    session_id = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()
    rolled_back = serializers.BooleanField()
    kind = serializers.CharField()
    created_at = serializers.CharField()
    start_time = serializers.CharField(allow_null=True)
    end_time = serializers.CharField(allow_null=True)
    source_type = serializers.CharField()
    destination_type = serializers.CharField()
    progress = serializers.FloatField()


class Step(serializers.Serializer):
    name = serializers.CharField()
    title = serializers.CharField()
    status = serializers.CharField()
    attempts = serializers.IntegerField()
    start_time = serializers.CharField(allow_null=True)
    end_time = serializers.CharField(allow_null=True)
    duration = serializers.FloatField(allow_null=True)


class Detail(Summary):
    description = serializers.CharField(allow_null=True)
    source = serializers.CharField()
    destination = serializers.CharField()
    error = serializers.JSONField(allow_null=True)
    steps = Step(many=True)
    configuration = serializers.JSONField()


class Status(serializers.Serializer):
    session_id = serializers.CharField()
    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()
    rolled_back = serializers.BooleanField()
    progress = serializers.FloatField()
    current_step = serializers.CharField(allow_null=True)
    start_time = serializers.CharField(allow_null=True)
    end_time = serializers.CharField(allow_null=True)
    duration = serializers.FloatField(allow_null=True)
    error = serializers.JSONField(allow_null=True)
    steps_completed = serializers.IntegerField()
    steps_total = serializers.IntegerField()
    performance_metrics = serializers.JSONField()
    current_operation = serializers.JSONField(allow_null=True)
    steps = Step(many=True)
    partial = serializers.BooleanField()
    backup_id = serializers.CharField(allow_null=True)
    last_event = serializers.IntegerField()


class Database(serializers.Serializer):
    type = serializers.CharField()
    host = serializers.CharField(required=False)
    cluster = serializers.CharField(required=False)
    port = serializers.IntegerField(required=False)
    username = serializers.CharField(required=False)
    password = serializers.CharField(required=False)
    database = serializers.CharField(required=False)


class System(serializers.Serializer):
    type = serializers.CharField()
    host = serializers.CharField(required=False)
    port = serializers.IntegerField(required=False)
    username = serializers.CharField(required=False)
    password = serializers.CharField(required=False)
    region = serializers.CharField(required=False)
    bucket = serializers.CharField(required=False)
    paths = serializers.DictField(child=serializers.CharField(), required=False)
    database = Database(required=False)


class NewMigration(serializers.Serializer):
    name = serializers.CharField()
    description = serializers.CharField(required=False)
    source = System()
    destination = System()
    transfer = serializers.DictField(required=False)
    safety = serializers.DictField(child=serializers.JSONField(), required=False)


class Page(serializers.Serializer):
    status_filter = serializers.CharField(required=False, default=None)
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100)
    offset = serializers.IntegerField(min_value=0, default=0)


class View(APIView):
    authentication_classes = [Token]
    permission_classes = [Known]


class Migrations(View):
    def get(self, request):
        page = Page(data=request.query_params)
        page.is_valid(raise_exception=True)
        asked = page.validated_data
        return Response(Summary(shared.listed(request.user[1], asked["status_filter"], asked["limit"], asked["offset"]), many=True).data)

    def post(self, request):
        body = NewMigration(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(shared.create(*request.user, request.META["REMOTE_ADDR"], body.validated_data), status=201)


class OneMigration(View):
    def get(self, request, session_id):
        return Response(Detail(shared.detail(request.user[1], session_id)).data)


class OneStatus(View):
    def get(self, request, session_id):
        return Response(Status(shared.status(request.user[1], session_id)).data)


urlpatterns = [
    path("health", lambda request: JsonResponse({"status": "healthy"})),
    path("migrations/", Migrations.as_view()),
    path("migrations/<str:session_id>", OneMigration.as_view()),
    path("migrations/<str:session_id>/status", OneStatus.as_view()),
]
app = get_wsgi_application()
